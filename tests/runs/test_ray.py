"""A batch on a real Ray cluster of two nodes."""

import ipaddress
import os
import random
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

import psutil
import pytest

from dreamdist3d.cli import main
from dreamdist3d.errors import UserError
from dreamdist3d.ray_cluster import ray_cluster
from dreamdist3d.runs.plan import BatchPlan
from dreamdist3d.runs.trial import Trial
from tests.forked import Forked

ROOT = Path(__file__).parents[2]
# A cluster asks for a token or not depending on the home folder it starts from, unless it is told.
TOKEN = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
# Not imported here: it reads its environment once, and every process below has one of its own.
pytestmark = pytest.mark.skipif(find_spec("ray") is None, reason="the extra [ray] is not installed")


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def ray_command(*words: str) -> None:
    command = [sys.executable, "-m", "ray.scripts.scripts", *words]
    patient = os.environ | TOKEN | {"RAY_raylet_start_wait_time_s": "300"}  # two cores may be busy with other things
    ended = subprocess.run(command, capture_output=True, text=True, timeout=600, env=patient, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a head node and a second one, of one core each."""
    address = f"127.0.0.1:{free_port()}"
    common = ("--num-cpus", "1", "--disable-usage-stats", "--object-store-memory", "100000000")
    port = address.rpartition(":")[2]
    try:
        ray_command("start", "--head", "--port", port, "--include-dashboard", "false", *common)
        ray_command("start", "--address", address, *common)
        yield address
    finally:
        kill_nodes()


def kill_nodes() -> None:
    """End whatever was started with this cluster's token: `ray stop` would end every cluster of the machine.

    What a node has started ends with it.
    """
    for one in psutil.process_iter():
        with suppress(psutil.Error):
            if one.pid != os.getpid() and one.environ().get("RAY_AUTH_TOKEN") == TOKEN["RAY_AUTH_TOKEN"]:
                one.kill()


def start(folder: Path, overrides: list[str], address: str | None, runs: int, token: dict[str, str] = TOKEN) -> Forked:
    """The batch itself is forked; what Ray starts are new interpreters."""

    def work() -> int:
        os.chdir(ROOT)
        options = ("--config", "dreamdist3d/mini.yaml", "--runs", str(runs), "--out", str(folder), "--executor", "ray")
        return main(["batch", "--features", "mini", *options, *overrides])

    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    environment |= token | {"PYTHONPATH": str(ROOT)} | ({"RAY_ADDRESS": address} if address else {})
    return Forked(work, folder.with_suffix(".out"), folder.with_suffix(".err"), environment)


def busy_workers() -> list[int]:
    """Processes in which Ray runs a task of ours."""
    found = psutil.process_iter(["pid", "cmdline"])
    return [one.info["pid"] for one in found if (one.info["cmdline"] or [""])[0].startswith("ray::do_runs")]


@pytest.mark.slow
def test_every_asset_is_made_whoever_dies(
    cluster: str, tiny_run: list[str], tiny_distribution: Path, tmp_path: Path
) -> None:
    overrides = [
        *tiny_run,
        f"system.prompt_processor.distribution={tiny_distribution}",
        *("trainer.checkpoint_every=1", "trainer.max_steps=100"),
        *("system.optimizer.lr=1e-6", "system.optimizer.mlp_lr=1e-6"),  # else random weights would empty the field
    ]
    folder, dice = tmp_path / "cats", random.Random(1)
    process = start(folder, overrides, cluster, 3)
    for _ in range(2):
        deadline = time.monotonic() + 300
        while not any((path.parent / "ckpts").exists() for path in folder.glob("*/run.json")) or not busy_workers():
            assert process.poll() is None and time.monotonic() < deadline, process.communicate()
            time.sleep(0.1)
        os.kill(dice.choice(busy_workers()), signal.SIGKILL)
        time.sleep(dice.uniform(1.0, 3.0))
    _, err = process.communicate(timeout=900)
    assert process.returncode == 0, err
    plan = BatchPlan.load(folder)
    assert len({run.draw_seed for run in plan.runs}) == 3
    for run in plan.runs:
        trial = Trial(folder / run.name)
        assert trial.manifest().state == "done" and trial.manifest().draw["seed"] == run.draw_seed
        assert trial.mesh.read_bytes()[:4] == b"glTF"
    assert (folder / "manifest.csv").is_file()


@pytest.mark.slow
def test_a_cluster_that_wants_its_token_is_one_line(
    cluster: str, tiny_run: list[str], tiny_distribution: Path, tmp_path: Path
) -> None:
    overrides = [*tiny_run, f"system.prompt_processor.distribution={tiny_distribution}"]
    for token in ({"RAY_AUTH_MODE": "disabled"}, TOKEN | {"RAY_AUTH_TOKEN": secrets.token_hex(32)}):
        process = start(tmp_path / "cats", overrides, cluster, 1, token)
        _, err = process.communicate(timeout=600)
        assert process.returncode == 2 and "RAY_AUTH_MODE=token" in err.splitlines()[-1] and "Traceback" not in err


@pytest.mark.slow
def test_a_cluster_that_is_not_there_is_one_line(tiny_run: list[str], tiny_distribution: Path, tmp_path: Path) -> None:
    overrides = [*tiny_run, f"system.prompt_processor.distribution={tiny_distribution}"]
    process = start(tmp_path / "cats", overrides, f"127.0.0.1:{free_port()}", 1)
    _, err = process.communicate(timeout=300)
    assert process.returncode == 2 and "no Ray cluster" in err.splitlines()[-1] and "Traceback" not in err


@pytest.mark.parametrize(
    ("token", "part"), [({}, "runs anybody's code"), ({"RAY_AUTH_MODE": "token"}, "there is none: set RAY_AUTH_TOKEN")]
)
def test_no_cluster_is_spoken_to_without_a_token(
    token: dict[str, str], part: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    for name, value in ({"RAY_ADDRESS": "127.0.0.1:1", "HOME": str(tmp_path)} | token).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match=part), ray_cluster():
        pass
    assert not list(tmp_path.iterdir())


def listening(process: Forked) -> set[tuple[str, str]]:
    """(name, address) of every open port of a process and its descendants."""
    found = set()
    for one in [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]:
        with suppress(psutil.Error):
            sockets = one.net_connections("inet")
            found |= {(one.name(), s.laddr.ip.removeprefix("::ffff:")) for s in sockets if s.status == "LISTEN"}
    return found


@pytest.mark.slow
def test_on_one_machine_ray_listens_to_nobody_else_and_leaves_no_token(
    tiny_run: list[str], tiny_distribution: Path, tmp_path: Path
) -> None:
    still = ["system.optimizer.lr=1e-6", "system.optimizer.mlp_lr=1e-6"]  # else random weights would empty the field
    overrides = [*tiny_run, f"system.prompt_processor.distribution={tiny_distribution}", *still]
    process = start(tmp_path / "cats", overrides, None, 1, {"HOME": str(tmp_path)})
    seen: set[tuple[str, str]] = set()
    while process.poll() is None:
        seen |= listening(process)
        time.sleep(0.2)
    assert process.returncode == 0, process.communicate()[1]
    assert {"gcs_server", "raylet"} <= {name for name, _ in seen}
    assert all(ipaddress.ip_address(address).is_loopback for _, address in seen), seen
    assert not (tmp_path / ".ray").exists()
    (record,) = (tmp_path / "cats").glob("*/run.json")
    assert Trial(record.parent).manifest().state == "done"
