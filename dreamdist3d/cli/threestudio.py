"""Commands about the extension for threestudio."""

from pathlib import Path

from tyro.conf import Positional
from tyro.extras import SubcommandApp

threestudio = SubcommandApp()


@threestudio.command
def install(home: Positional[Path], copy: bool = False) -> None:
    """Put the extension into a checkout of threestudio.

    Args:
        home: the folder of threestudio's launch.py.
        copy: copy the files where links do not work; to be repeated after every update.
    """
    from dreamdist3d.threestudio.install import install

    print(install(home, copy))


@threestudio.command
def uninstall(home: Positional[Path]) -> None:
    """Take the extension out of a checkout of threestudio.

    Args:
        home: the folder of threestudio's launch.py.
    """
    from dreamdist3d.threestudio.install import uninstall

    print(uninstall(home))
