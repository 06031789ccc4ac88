"""Who works in a folder."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from dreamdist3d.errors import UserError
from dreamdist3d.runs.locks import Busy, hold, holder_of

HOLDS = """
import sys, time
from pathlib import Path
from dreamdist3d.runs.locks import hold
with hold(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def holder(tmp_path: Path):
    """A process that holds the lock."""
    process = subprocess.Popen([sys.executable, "-c", HOLDS, str(tmp_path / ".lock")], stdout=subprocess.PIPE)
    process.stdout.readline()
    yield process
    process.kill()
    process.wait()


def test_who_holds_it_is_named_and_dies_with_it(holder: subprocess.Popen, tmp_path: Path) -> None:
    lock = tmp_path / ".lock"
    assert holder_of(lock).pid == holder.pid and holder_of(lock).is_here and not holder_of(lock).is_stopped
    with pytest.raises(Busy, match=f"process {holder.pid} is at work"), hold(lock):
        pass
    holder.kill()
    holder.wait()
    assert holder_of(lock) is None
    with hold(lock):
        assert holder_of(lock).pid == os.getpid()
    assert holder_of(tmp_path / "none") is None


def test_a_halted_holder_is_named_with_what_to_do(holder: subprocess.Popen, tmp_path: Path) -> None:
    holder.send_signal(signal.SIGSTOP)
    os.waitid(os.P_PID, holder.pid, os.WSTOPPED | os.WNOWAIT)
    with pytest.raises(Busy, match=f"kill -CONT {holder.pid}"), hold(tmp_path / ".lock"):
        pass


def test_a_planted_link_is_neither_followed_nor_emptied(tmp_path: Path) -> None:
    precious, lock = tmp_path / "precious", tmp_path / ".lock"
    precious.write_text("1234567890123456789012345678901234567890")
    lock.symlink_to(precious)
    for use in (lambda: hold(lock).__enter__(), lambda: holder_of(lock)):
        with pytest.raises(UserError, match=r"\.lock must be a plain file"):
            use()
    lock.unlink()
    os.link(precious, lock)
    with hold(lock):
        assert precious.read_text() == "1234567890123456789012345678901234567890"


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo])
def test_what_is_no_file_is_an_error(make, tmp_path: Path) -> None:
    make(tmp_path / ".lock")
    with pytest.raises(UserError, match="must be a plain file"), hold(tmp_path / ".lock"):
        pass


@pytest.mark.parametrize("text", ["", "x", "-1 here", "99999999999 here", "\xff", "0" * 400])
def test_what_stands_in_it_is_not_believed_without_need(text: str, tmp_path: Path) -> None:
    (tmp_path / ".lock").write_text(text, encoding="latin-1")
    assert holder_of(tmp_path / ".lock") is None
