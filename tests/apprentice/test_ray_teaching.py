"""Experts on a real Ray cluster, which the command starts for itself."""

import os
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from dreamdist3d.cli import main
from tests.forked import Forked

ROOT = Path(__file__).parents[2]
ASKED = ("--experts", "3", "--stack", "2", "--prompts", "2", "--steps", "2", "--pictures", "2", "--device", "cpu")
pytestmark = pytest.mark.skipif(find_spec("ray") is None, reason="the extra [ray] is not installed")


def teach_on_ray(work: Path, ray_is_there: bool = True) -> Forked:
    def teach() -> int:
        if not ray_is_there:
            sys.modules["ray"] = None  # type: ignore[assignment]
        return main(["apprentice", "teach", str(work), *ASKED, "--executor", "ray"])

    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    environment |= {"PYTHONPATH": str(ROOT), "HOME": str(work.parent)}
    return Forked(teach, work.with_suffix(".out"), work.with_suffix(".err"), environment)


@pytest.mark.slow
def test_experts_of_ray_are_those_of_one_process(bank, tmp_path):
    for name in ("here", "ray"):
        shutil.copytree(bank.folder, tmp_path / name / "clusters")
    assert main(["apprentice", "teach", str(tmp_path / "here"), *ASKED]) == 0
    for ray_is_there in (True, False):  # again, with nothing left to do: no cluster is started for that
        process = teach_on_ray(tmp_path / "ray", ray_is_there)
        _, err = process.communicate(timeout=300)
        assert process.returncode == 0, err
        assert "3 experts" in err and "Traceback" not in err
    made = sorted(path.relative_to(tmp_path / "here") for path in (tmp_path / "here").rglob("*.safetensors"))
    assert len(made) == 2 + 3 + 3
    for path in (*made, Path("taught.json")):
        assert (tmp_path / "ray" / path).read_bytes() == (tmp_path / "here" / path).read_bytes()
