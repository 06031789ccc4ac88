"""The suite of faults does what it says, on one fault of each sort; the command does hundreds."""

import random
import signal
from pathlib import Path
from types import ModuleType

import pytest

from tests.forked import Forked

ROOT = Path(__file__).parents[2]


@pytest.fixture
def faults(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    monkeypatch.chdir(ROOT)
    import faults

    return faults


def survive(faults: ModuleType, fault: str) -> int:
    """In a process of its own, which puts a loop in the place of the lift."""
    faults.stub_the_lift()
    faults.STEPS, dice = 4, random.Random(0)
    if fault == "a killed worker":
        return not faults.disturbed(dice, signal.SIGKILL, is_worker=True)
    if fault == "a cut record":
        return not faults.spoilt(next(one for one in faults.SPOILS if one == ("run.json", faults.cut)))
    if fault == "a killed write":
        return not faults.in_a_place(lambda place: place.start(lambda: faults.killed_at(9, place)).wait() == -9, runs=1)
    faults.in_a_place(lambda place: place.goes_on({"gone": (0, b"an asset that was finished")}), runs=1)
    return 0


@pytest.mark.parametrize("fault", ["a killed worker", "a cut record", "a killed write"])
def test_one_fault_of_each_sort_is_survived(fault: str, faults: ModuleType, tmp_path: Path) -> None:
    process = Forked(lambda: survive(faults, fault), tmp_path / "out", tmp_path / "err")
    assert process.wait(timeout=240) == 0, (tmp_path / "err").read_text()


def test_a_batch_that_lost_an_asset_is_not_called_whole(faults: ModuleType, tmp_path: Path) -> None:
    process = Forked(lambda: survive(faults, "a lost asset"), tmp_path / "out", tmp_path / "err")
    process.wait(timeout=240)
    assert "a finished asset was made again" in (tmp_path / "err").read_text()
