"""Two checkouts on one machine, of which one is installed."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_a_second_checkout_uses_its_own_code(tmp_path: Path):
    for name in ("dreamdist3d", "eval", "configs", "threestudio_ext", "comfyui_ext"):
        keep_out = shutil.ignore_patterns("__pycache__", "weights")
        shutil.copytree(ROOT / name, tmp_path / name, ignore=keep_out)
    (tmp_path / "configs" / "mark.txt").write_text("second")
    code = (
        "from importlib import resources, util\n"
        "for name in ('dreamdist3d', 'dreamdist3d.eval', 'dreamdist3d.threestudio_ext', 'dreamdist3d.comfyui_ext'):\n"
        "    print(next(iter(util.find_spec(name).submodule_search_locations or [util.find_spec(name).origin])))\n"
        "print(resources.files('dreamdist3d.configs').joinpath('mark.txt').read_text())"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    *files, mark = done.stdout.splitlines()
    assert len(files) == 4 and all(Path(file).resolve().is_relative_to(tmp_path.resolve()) for file in files)
    assert mark == "second"


def test_any_terminal_is_written_to(tmp_path: Path):
    for encoding in ("cp1252", "latin-1", "cp932", "ascii"):
        environment = os.environ | {"PYTHONIOENCODING": encoding}
        for arguments in (["--help"], ["mini", "--help"]):
            command = [sys.executable, "-m", "dreamdist3d", *arguments]
            done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True)
            assert done.returncode == 0 and b"Traceback" not in done.stderr and len(done.stdout) > 200, done.stderr
