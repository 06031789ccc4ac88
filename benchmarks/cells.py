"""Cells of a study that several processes make together, each started with the same command on the same folder."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import torch

from dreamdist3d.files import try_lock

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


@contextmanager
def claimed(folder: Path) -> Iterator[bool]:
    """Whether a cell's folder is this process's while the context lasts; one that another has is left to it."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("a") as file:
        yield try_lock(file.fileno())


def copy_whole(source: Path, target: Path) -> None:
    """Copy a file or folder to where nothing is: whole or not at all, whoever does the same at the same time."""
    if target.exists() or not source.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as temporary:
        made = Path(temporary) / target.name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, made)
        with suppress(OSError):  # somebody was quicker
            os.rename(made, target)
