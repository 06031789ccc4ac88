"""Several runs side by side: real processes."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dreamdist3d.errors import UserError
from dreamdist3d.runs.local import Job, last_line, launch_job, run_jobs

ROOT = Path(__file__).parents[2]
# Says that it is ready, then waits; on SIGTERM it writes its checkpoint and ends as a stopped run does.
WORKER = """
import pathlib, signal, sys, time
def stop(*_):
    pathlib.Path(sys.argv[1] + ".ckpt").write_text("kept")
    sys.exit(130)
signal.signal(signal.SIGTERM, stop)
signal.signal(signal.SIGINT, lambda *_: sys.exit("SIGINT came straight from the terminal"))
pathlib.Path(sys.argv[1] + ".ready").touch()
time.sleep(60)
"""
PARENT = """
import sys
from pathlib import Path
from dreamdist3d.errors import Stopped
from dreamdist3d.runs.local import Job, run_jobs
folder, worker = Path(sys.argv[1]), sys.argv[2]
jobs = [Job(n, [sys.executable, "-c", worker, str(folder / n)], folder / f"{n}.log") for n in ("a", "b", "c")]
try:
    run_jobs(jobs, at_once=2)
except Stopped as error:
    print(f"{error.exit_code} {error}")
"""


def job(folder: Path, name: str, code: str) -> Job:
    return Job(name, [sys.executable, "-c", code], folder / "logs" / f"{name}.log")


def wait_for(*paths: Path) -> None:
    deadline = time.monotonic() + 120
    while not all(path.exists() for path in paths):
        assert time.monotonic() < deadline, f"none of {paths}"
        time.sleep(0.02)


def test_all_jobs_are_done_on_one_thread_each_with_their_output_in_logs(tmp_path: Path) -> None:
    jobs = [job(tmp_path, n, f"import os; print('{n}', os.environ['OMP_NUM_THREADS'])") for n in ("a", "b", "c")]
    run_jobs(jobs, at_once=2)
    assert [one.log.read_text() for one in jobs] == ["a 1\n", "b 1\n", "c 1\n"]


def test_no_more_than_asked_run_at_once(tmp_path: Path) -> None:
    code = (
        f"import os, pathlib, time; here = pathlib.Path({str(tmp_path)!r}); mine = here / f'{{os.getpid()}}.on'; "
        "mine.touch(); time.sleep(0.3); print(len(list(here.glob('*.on')))); mine.unlink()"
    )
    jobs = [job(tmp_path, str(n), code) for n in range(4)]
    run_jobs(jobs, at_once=2)
    assert max(int(one.log.read_text()) for one in jobs) <= 2


def test_a_failing_job_is_named_with_its_log_and_spares_the_others(tmp_path: Path) -> None:
    bad = job(tmp_path, "bad", "import sys; print('error: no weights\\n'); sys.exit(2)")
    good = job(tmp_path, "good", "print('fine')")
    with pytest.raises(UserError) as caught:
        run_jobs([bad, good], at_once=1)
    assert str(caught.value) == f"bad failed: error: no weights (see {bad.log})"
    assert good.log.read_text() == "fine\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_reaches_every_running_job_as_sigterm_and_starts_no_other(tmp_path: Path, number: int) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(tmp_path), WORKER],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    wait_for(tmp_path / "a.ready", tmp_path / "b.ready")
    parent.send_signal(number)
    output, _ = parent.communicate(timeout=120)
    assert output.startswith("130 stopped")
    assert sorted(path.name for path in tmp_path.glob("*.ckpt")) == ["a.ckpt", "b.ckpt"]
    assert not (tmp_path / "c.ready").exists()


def test_last_line_of_a_log(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"x" * 9000 + b"\nfirst\n  last \xff \n\n")
    assert last_line(log) == "last \N{REPLACEMENT CHARACTER}"
    log.write_text("")
    assert last_line(log) == ""


def test_a_launch_job_is_the_launch_command(tmp_path: Path) -> None:
    launched = launch_job("one", "dreamdist3d/mini.yaml", ["tag=one"], tmp_path / "one.log")
    assert launched.command[1:] == ["-m", "dreamdist3d", "launch", "--config", "dreamdist3d/mini.yaml", "tag=one"]
