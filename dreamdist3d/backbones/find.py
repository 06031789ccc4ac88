"""From what a user calls a backbone to where it lies on this disk."""

import os
from difflib import get_close_matches
from pathlib import Path

from dreamdist3d.backbones.catalogue import CATALOGUE, mini_folder
from dreamdist3d.backbones.convert.tensors import SUFFIXES
from dreamdist3d.backbones.hub import Found, fetch
from dreamdist3d.errors import UserError
from dreamdist3d.version import __version__


def find(name_or_path: str) -> Found:
    """Find a backbone; names stand before paths, `./sd21` is a folder of that name.

    Raises:
        UserError: there is no such name, folder or checkpoint file, or named weights cannot be had.
    """
    if name_or_path == "mini":
        return Found(mini_folder(), f"packaged with dreamdist3d {__version__}")
    if name_or_path in CATALOGUE:
        return fetch(CATALOGUE[name_or_path])
    path = Path(name_or_path).expanduser()
    if path.is_dir():
        return Found(path, os.path.abspath(path))
    if path.is_file():
        if path.suffix.lower() not in SUFFIXES:
            raise UserError(f"{path} is no checkpoint file: those end in {', '.join(SUFFIXES)}.")
        return Found(path, os.path.abspath(path))
    raise UserError(_unknown(name_or_path))


def _unknown(name_or_path: str) -> str:
    names = ["mini", *CATALOGUE]
    close = get_close_matches(name_or_path, names, n=1)
    return (
        f"backbone {name_or_path!r} is neither one of {', '.join(names)} nor a folder or file that exists"
        f"{f' (did you mean {close[0]}?)' if close else ''}: give a local folder in the diffusers layout or an "
        "original checkpoint file."
    )
