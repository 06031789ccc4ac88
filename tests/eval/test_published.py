"""Downloads of published weights, against real HTTP servers on this machine."""

import hashlib
import io
from pathlib import Path

import pytest
import torch

from dreamdist3d.errors import UserError
from dreamdist3d.eval.published import torch_hub_file
from tests.backbones.fake_hub import FakeHub, hub_environment, serve
from tests.forked import script

# The hub's client reads its environment once, when it is imported.
_HUB = """
import sys
for name in [name for name in sys.modules if name.startswith(("huggingface_hub", "dreamdist3d.eval.published"))]:
    del sys.modules[name]
from dreamdist3d.eval.published import hub_file
print(hub_file('timm/vit', 'model.safetensors', 'DINO', 'use mini').read_bytes().decode())
"""


def plain_weights() -> bytes:
    buffer = io.BytesIO()
    torch.save({"weight": torch.ones(3)}, buffer)
    return buffer.getvalue()


@pytest.fixture
def torch_home(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "hub" / "checkpoints"


def asked(home: Path, endpoint: str, **more: str) -> tuple[str, str]:
    """What a process with this hub prints, and its errors."""
    environment = hub_environment(home, endpoint, **more)
    return script(_HUB, home / f"asked-{len(list(home.iterdir()))}", environment=environment).communicate(timeout=60)


def test_the_hub_is_asked_once_and_its_cache_after(tmp_path):
    with serve(FakeHub({"timm/vit": {"model.safetensors": b"weights"}})) as hub:
        assert asked(tmp_path, hub.url)[0].strip() == "weights"
        assert asked(tmp_path, "http://127.0.0.1:9", HF_HUB_OFFLINE="1")[0].strip() == "weights"


def test_a_hub_that_does_not_have_them_is_one_line_with_a_way_out(tmp_path):
    with serve(FakeHub({})) as hub:
        error = asked(tmp_path, hub.url)[1].strip().splitlines()[-1]
    assert "the weights of DINO are not on this machine and cannot be downloaded (RepositoryNotFoundError)" in error
    assert "download model.safetensors of the repository timm/vit, or use mini." in error


def test_a_file_in_torchs_folder_is_taken_and_checked(torch_home):
    torch_home.mkdir(parents=True)
    (torch_home / "net-12345678.pth").write_bytes(plain_weights())
    assert torch_hub_file("http://x/net-12345678.pth", "a net", "go on").name == "net-12345678.pth"
    (torch_home / "net-12345678.pth").write_bytes(b"no weights")
    with pytest.raises(UserError, match=r"net-12345678\.pth is no file of plain weights: delete it"):
        torch_hub_file("http://x/net-12345678.pth", "a net", "go on")


class Evil:
    def __reduce__(self):
        return (print, ("executed",))


def test_a_file_that_would_run_code_is_refused(torch_home, capsys):
    torch_home.mkdir(parents=True)
    torch.save({"weight": Evil()}, torch_home / "net-12345678.pth")
    with pytest.raises(UserError, match="no file of plain weights"):
        torch_hub_file("http://x/net-12345678.pth", "a net", "go on")
    assert "executed" not in capsys.readouterr().out


def test_downloads_are_checked_against_the_hash_in_their_name(torch_home):
    content = plain_weights()
    digest = hashlib.sha256(content).hexdigest()[:8]
    names = [f"net-{digest}.pth", "net-00000000.pth"]
    with serve(FakeHub({"a": dict.fromkeys(names, content)})) as hub:
        good, bad = (f"{hub.url}/a/resolve/main/{name}" for name in names)
        assert torch_hub_file(good, "a net", "go on").read_bytes() == content
        with pytest.raises(UserError, match=r"weights of a net are not on this machine.*\(RuntimeError\).*or go on"):
            torch_hub_file(bad, "a net", "go on")
    assert not (torch_home / names[1]).exists()
