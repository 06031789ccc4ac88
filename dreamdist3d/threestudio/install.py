"""Put the extension into a checkout of threestudio, and take it out again."""

import shutil
from importlib.util import find_spec
from pathlib import Path

from dreamdist3d.errors import UserError

NAME = "threestudio-dreamdist3d"
_COPY_MARK = ".copied-by-dreamdist3d"


def extension_folder() -> Path:
    """Where the extension lies: in the installed package, or at the top of a checkout.

    Raises:
        UserError: in neither place.
    """
    # Found, not imported: importing it needs threestudio.
    spec = find_spec("dreamdist3d.threestudio_ext")
    places = [*(spec.submodule_search_locations or () if spec else ()), Path(__file__).parents[2] / "threestudio_ext"]
    for place in map(Path, places):
        if (place / "prompt_processor.py").is_file():
            return place.resolve()
    raise UserError("this installation of dreamdist3d has no threestudio_ext: install it again.")


def install(home: Path, copy: bool = False) -> str:
    """Link (or copy) the extension into `home`/custom; says in one sentence what was done. May be repeated.

    Raises:
        UserError: `home` is no checkout of threestudio, something else is in the way, or links do not work there.
    """
    source, target = extension_folder(), target_in(home)
    if target.is_symlink() and target.resolve() == source and not copy:
        return f"{target} is already linked to {source}."
    removed = _remove(target)
    verb = "Copied" if copy else "Linked"
    try:
        _copy(source, target) if copy else target.symlink_to(source, target_is_directory=True)
    except OSError as error:
        hint = "Check the disk and permissions." if copy else "Where links do not work, use --copy."
        raise UserError(f"cannot make {target}: {error.strerror or error}. {hint}") from error
    return f"{verb} {source} to {target}{', in place of what was installed there' if removed else ''}."


def uninstall(home: Path) -> str:
    """Remove what `install` made; says in one sentence what was done.

    Raises:
        UserError: `home` is no checkout of threestudio, or what is there was not made by `install`.
    """
    target = target_in(home)
    return f"Removed {target}." if _remove(target) else f"Nothing to do: there is no {target}."


def target_in(home: Path) -> Path:
    """The extension's place in a checkout of threestudio.

    Raises:
        UserError: it is none.
    """
    missing = [name for name in ("launch.py", "threestudio/__init__.py", "custom") if not (home / name).exists()]
    if missing:
        raise UserError(
            f"{home} is no checkout of threestudio with extensions (0.2 or later): {missing[0]} is missing."
        )
    return home.absolute() / "custom" / NAME


def _remove(target: Path) -> bool:
    """Whether there was something of ours to remove."""
    if target.is_symlink():
        target.unlink()
        return True
    if not target.exists():
        return False
    if not (target / _COPY_MARK).exists():
        raise UserError(f"{target} was not put there by `dreamdist3d threestudio install`: move it away yourself.")
    shutil.rmtree(target)
    return True


def _copy(source: Path, target: Path) -> None:
    # Marked first, so that a copy that broke off can be replaced.
    target.mkdir()
    (target / _COPY_MARK).touch()
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True)
