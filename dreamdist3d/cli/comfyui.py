"""Commands about the nodes for ComfyUI."""

from pathlib import Path

from tyro.conf import Positional
from tyro.extras import SubcommandApp

comfyui = SubcommandApp()


@comfyui.command
def install(home: Positional[Path], copy: bool = False) -> None:
    """Put the nodes into a ComfyUI.

    Args:
        home: the folder of ComfyUI's main.py.
        copy: copy the files where links do not work; to be repeated after every update.
    """
    from dreamdist3d.comfyui.install import install

    print(install(home, copy))


@comfyui.command
def uninstall(home: Positional[Path]) -> None:
    """Take the nodes out of a ComfyUI.

    Args:
        home: the folder of ComfyUI's main.py.
    """
    from dreamdist3d.comfyui.install import uninstall

    print(uninstall(home))
