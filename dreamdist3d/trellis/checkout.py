"""The checkout of TRELLIS: where it is, whether it is whole, and its code as a module."""

import os
import sys
from contextlib import redirect_stdout
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from dreamdist3d.errors import UserError, one_line
from dreamdist3d.files import read_json, write_json
from dreamdist3d.trellis.licences import PARTS

HOME_VARIABLE = "TRELLIS_HOME"
_PIPELINE = Path("trellis/pipelines/trellis_text_to_3d.py")
_SUBMODULE = Path("trellis/representations/mesh/flexicubes/flexicubes.py")
# What its code imports on the way to a mesh, and what brings it.
_NEEDED = {
    "easydict": "pip install easydict",
    "flash_attn": "its setup.sh --flash-attn (or ATTN_BACKEND=xformers and --xformers)",
    "kaolin": "its setup.sh --kaolin",
    "open3d": "pip install open3d",
    "plyfile": "pip install plyfile",
    "rembg": "pip install rembg",
    "spconv": "its setup.sh --spconv",
    "utils3d": "its setup.sh --basic",
}


def install(home: Path) -> list[str]:
    """Remember a checkout as the one that `system.engine=trellis` uses; TRELLIS itself is not touched.

    Returns:
        What was done, and what of that checkout's own requirements this Python lacks, a sentence each.

    Raises:
        UserError: `home` is no whole checkout of TRELLIS, or nothing can be remembered.
    """
    check_checkout(home)
    write_json(_memory(), {"home": str(home.resolve())})
    lacking = [f"{name} is not installed: {step}" for name, step in missing_packages().items()]
    licence = home / _SUBMODULE.with_name("LICENSE.txt")
    if licence.is_file() and "non-commercial" in licence.read_text(encoding="utf-8", errors="replace"):
        lacking.append(
            "its FlexiCubes is of before April 2025, for non-commercial use: update the checkout and submodule."
        )
    return [f"system.engine=trellis now uses {home.resolve()}.", *lacking]


def uninstall() -> str:
    """Forget the checkout; says in one sentence what was done."""
    path = _memory()
    if not path.exists():
        return "Nothing to do: no checkout of TRELLIS is remembered."
    path.unlink()
    return "Forgot the checkout of TRELLIS; its folder is untouched."


def find_home() -> Path:
    """The checkout that $TRELLIS_HOME names, else the one that `install` remembers.

    Raises:
        UserError: there is none, or it is not whole.
    """
    named = os.environ.get(HOME_VARIABLE)
    if not named and _memory().exists():
        memory = read_json(_memory())
        named = memory.get("home") if isinstance(memory, dict) else None
    if not named or not isinstance(named, str):
        raise UserError(
            "system.engine=trellis needs a checkout of TRELLIS: run `dreamdist3d trellis install FOLDER`, or set "
            f"{HOME_VARIABLE}."
        )
    check_checkout(Path(named))
    return Path(named)


def check_checkout(home: Path) -> None:
    """That a folder is a whole checkout of TRELLIS.

    Raises:
        UserError: it is not; says what is missing.
    """
    if not (home / _PIPELINE).is_file():
        raise UserError(f"{home} is no checkout of TRELLIS with its text pipeline: there is no {_PIPELINE} in it.")
    if not (home / _SUBMODULE).is_file():
        raise UserError(f"{home} lacks its submodule FlexiCubes: run `git submodule update --init --recursive` in it.")


def missing_packages() -> dict[str, str]:
    """What of TRELLIS's requirements on the way to a mesh this Python lacks, with how to get it."""
    attention = "xformers" if os.environ.get("ATTN_BACKEND") == "xformers" else "flash_attn"
    needed = {attention if name == "flash_attn" else name: step for name, step in _NEEDED.items()}
    return {name: step for name, step in needed.items() if name not in sys.modules and find_spec(name) is None}


def import_from(home: Path, module: str) -> Any:
    """A module of the checkout's own code.

    Raises:
        UserError: something that it needs cannot be imported, or another `trellis` is in the way.
    """
    if str(home.resolve()) not in sys.path:
        sys.path.insert(0, str(home.resolve()))
    try:
        with redirect_stdout(sys.stderr):  # it says there which backends it chose
            found = import_module(module)
    except Exception as error:  # compiled packages fail in every way
        missing = "; ".join(f"{name}: {step}" for name, step in missing_packages().items())
        hint = f" Missing here are {missing}." if missing else ""
        raise UserError(f"TRELLIS in {home} cannot be imported ({one_line(error)}).{hint}") from error
    package = Path(sys.modules["trellis"].__file__ or "").resolve()
    if not package.is_relative_to(home.resolve()):
        raise UserError(f"{package} stands before the checkout in {home}: uninstall that package named trellis.")
    return found


def licence_lines() -> list[str]:
    """The terms of all its parts, one line each."""
    return [f"{terms}: {terms.role}" for terms in PARTS]


def _memory() -> Path:
    base = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(base) / "dreamdist3d" / "trellis.json"
