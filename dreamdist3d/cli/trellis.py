"""Commands about the checkout of TRELLIS."""

from pathlib import Path

from tyro.conf import Positional
from tyro.extras import SubcommandApp

trellis = SubcommandApp()


@trellis.command
def install(home: Positional[Path]) -> None:
    """Use a checkout of TRELLIS for system.engine=trellis; says what of its requirements is missing here.

    Args:
        home: the folder of a checkout with its submodules; nothing in it is changed.
    """
    from dreamdist3d.trellis.checkout import install, licence_lines

    for line in install(home):
        print(line)
    print("Its parts and their terms:")
    for line in licence_lines():
        print(f"  {line}")


@trellis.command
def uninstall() -> None:
    """Forget the checkout of TRELLIS; its folder stays."""
    from dreamdist3d.trellis.checkout import uninstall

    print(uninstall())
