"""Put the nodes into a ComfyUI, and take them out again."""

from pathlib import Path

from dreamdist3d import linking
from dreamdist3d.errors import UserError

NAME = "comfyui-dreamdist3d"
_COMMAND = "dreamdist3d comfyui install"


def extension_folder() -> Path:
    """Where the nodes lie: in the installed package, or at the top of a checkout.

    Raises:
        UserError: in neither place.
    """
    return linking.extension_folder("comfyui_ext", "nodes.py")


def install(home: Path, copy: bool = False) -> str:
    """Link (or copy) the nodes into `home`/custom_nodes; says in one sentence what was done. May be repeated.

    Raises:
        UserError: `home` is no ComfyUI, something else is in the way, or links do not work there.
    """
    return linking.put(extension_folder(), target_in(home), _COMMAND, copy)


def uninstall(home: Path) -> str:
    """Remove what `install` made; says in one sentence what was done.

    Raises:
        UserError: `home` is no ComfyUI, or what is there was not made by `install`.
    """
    return linking.take_out(target_in(home), _COMMAND)


def target_in(home: Path) -> Path:
    """The nodes' place in a ComfyUI.

    Raises:
        UserError: it is none.
    """
    missing = [name for name in ("main.py", "comfy/sd1_clip.py", "custom_nodes") if not (home / name).exists()]
    if missing:
        raise UserError(f"{home} is no folder of ComfyUI: {missing[0]} is missing in it.")
    return home.absolute() / "custom_nodes" / NAME
