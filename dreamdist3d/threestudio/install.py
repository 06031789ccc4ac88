"""Put the extension into a checkout of threestudio, and take it out again."""

from pathlib import Path

from dreamdist3d import linking
from dreamdist3d.errors import UserError

NAME = "threestudio-dreamdist3d"
_COMMAND = "dreamdist3d threestudio install"


def extension_folder() -> Path:
    """Where the extension lies: in the installed package, or at the top of a checkout.

    Raises:
        UserError: in neither place.
    """
    return linking.extension_folder("threestudio_ext", "prompt_processor.py")


def install(home: Path, copy: bool = False) -> str:
    """Link (or copy) the extension into `home`/custom; says in one sentence what was done. May be repeated.

    Raises:
        UserError: `home` is no checkout of threestudio, something else is in the way, or links do not work there.
    """
    return linking.put(extension_folder(), target_in(home), _COMMAND, copy)


def uninstall(home: Path) -> str:
    """Remove what `install` made; says in one sentence what was done.

    Raises:
        UserError: `home` is no checkout of threestudio, or what is there was not made by `install`.
    """
    return linking.take_out(target_in(home), _COMMAND)


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
