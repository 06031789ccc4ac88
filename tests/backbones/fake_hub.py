"""A hub in miniature: a real HTTP server that answers `/{repository}/resolve/{revision}/{file}` as the hub does."""

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from dreamdist3d.backbones.catalogue import HubSource

COMMIT = "c0ffee" + "0" * 34
# Sources of two tiny files under the hub's own rules; run in a process of its own, as the client reads HF_* once.
_SCRIPT = """
import json, sys
from dreamdist3d.backbones.catalogue import HubSource, NamedWeights
from dreamdist3d.backbones.hub import fetch
from dreamdist3d.errors import UserError
asked = json.loads(sys.argv[1])
sources = tuple(HubSource(**{**source, "files": tuple(source["files"])}) for source in asked)
try:
    found = fetch(NamedWeights("tiny", "tests", "none", sources))
except UserError as error:
    print(json.dumps({"error": str(error)}))
else:
    print(json.dumps({"path": str(found.path), "origin": found.origin}))
assert "torch" not in sys.modules
"""


class FakeHub:
    """`repositories` maps a name to its files' contents, or to (status, error code) for one that refuses."""

    def __init__(self, repositories: dict[str, dict[str, bytes] | tuple[int, str]]) -> None:
        self.repositories = repositories
        self.requests: list[tuple[str, str]] = []
        self.url = ""

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        self.requests.append((handler.command, handler.path))
        repository, _, rest = handler.path.lstrip("/").partition("/resolve/")
        commit, _, name = rest.partition("/")
        held = self.repositories.get(repository, (404, "RepoNotFound"))
        if isinstance(held, dict) and name not in held:
            held = (404, "EntryNotFound")
        if isinstance(held, tuple):
            handler.send_response(held[0])
            handler.send_header("X-Error-Code", held[1])
            handler.send_header("Content-Length", "0")
            handler.end_headers()
            return
        handler.send_response(200)
        handler.send_header("X-Repo-Commit", commit)
        handler.send_header("ETag", f'"{hashlib.sha256(held[name]).hexdigest()}"')
        handler.send_header("Content-Length", str(len(held[name])))
        handler.end_headers()
        if handler.command == "GET":
            handler.wfile.write(held[name])


@contextmanager
def serve(hub: FakeHub) -> Iterator[FakeHub]:
    """Serve `hub` on a free port of this machine while the work inside runs."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            hub.answer(self)

        do_HEAD = do_GET

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    hub.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield hub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def hub_environment(home: Path, endpoint: str, **more: str) -> dict[str, str]:
    """This process's environment with another hub, another cache, and no proxy between."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("HF_") and "proxy" not in key.lower()}
    return {**kept, "HF_HOME": str(home), "HF_ENDPOINT": endpoint, "HF_HUB_DISABLE_XET": "1", **more}


def fetch_in_process(sources: list[dict], environment: dict[str, str]) -> dict[str, str]:
    """What `fetch` gives or says for weights with these sources, in a process of its own."""
    command = [sys.executable, "-c", _SCRIPT, json.dumps(sources)]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout.splitlines()[-1])


def put_in_cache(cache: Path, source: HubSource, folder: Path | None = None) -> Path:
    """Every file of `source`, out of `folder` or all alike, as the client lays them out: blobs by hash, and links."""
    root = cache / f"models--{source.repository.replace('/', '--')}"
    snapshot = root / "snapshots" / source.revision
    for name in source.files:
        content = (folder / name).read_bytes() if folder else b"weights"
        blob = root / "blobs" / hashlib.sha256(content).hexdigest()
        blob.parent.mkdir(parents=True, exist_ok=True)
        blob.write_bytes(content)
        link = snapshot / name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(blob)
    return snapshot
