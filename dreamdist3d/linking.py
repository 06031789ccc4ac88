"""Folders of extensions, put by a link or a copy where another program looks for them, and taken out again."""

import shutil
from importlib.util import find_spec
from pathlib import Path

from dreamdist3d.errors import UserError

_COPY_MARK = ".copied-by-dreamdist3d"


def extension_folder(name: str, file: str) -> Path:
    """Where an extension lies: in the installed package, or at the top of a checkout.

    Args:
        name: of its folder, such as threestudio_ext.
        file: one that it holds.

    Raises:
        UserError: in neither place.
    """
    # Found, not imported: importing it needs the program it is for.
    spec = find_spec(f"dreamdist3d.{name}")
    places = [*(spec.submodule_search_locations or () if spec else ()), Path(__file__).parents[1] / name]
    for place in map(Path, places):
        if (place / file).is_file():
            return place.resolve()
    raise UserError(f"this installation of dreamdist3d has no {name}: install it again.")


def put(source: Path, target: Path, command: str, copy: bool = False) -> str:
    """Link (or copy) a folder to `target`; says in one sentence what was done. May be repeated.

    Args:
        command: that puts it there, for what else is found in its place.

    Raises:
        UserError: something else is in the way, or links do not work there.
    """
    if target.is_symlink() and target.resolve() == source and not copy:
        return f"{target} is already linked to {source}."
    removed = _remove(target, command)
    verb = "Copied" if copy else "Linked"
    try:
        _copy(source, target) if copy else target.symlink_to(source, target_is_directory=True)
    except OSError as error:
        hint = "Check the disk and permissions." if copy else "Where links do not work, use --copy."
        raise UserError(f"cannot make {target}: {error.strerror or error}. {hint}") from error
    return f"{verb} {source} to {target}{', in place of what was installed there' if removed else ''}."


def take_out(target: Path, command: str) -> str:
    """Remove what `put` made; says in one sentence what was done.

    Raises:
        UserError: what is there was not made by `put`.
    """
    return f"Removed {target}." if _remove(target, command) else f"Nothing to do: there is no {target}."


def _remove(target: Path, command: str) -> bool:
    """Whether there was something of ours to remove."""
    if target.is_symlink():
        target.unlink()
        return True
    if not target.exists():
        return False
    if not (target / _COPY_MARK).exists():
        raise UserError(f"{target} was not put there by `{command}`: move it away yourself.")
    shutil.rmtree(target)
    return True


def _copy(source: Path, target: Path) -> None:
    # Marked first, so that a copy that broke off can be replaced.
    target.mkdir()
    (target / _COPY_MARK).touch()
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True)
