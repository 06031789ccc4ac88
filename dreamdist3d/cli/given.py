"""Settings on a command line: shared ones written once; what is left out keeps the value that the help shows."""

from pathlib import Path
from typing import Annotated, Any

from tyro.conf import Positional, arg

ConfigFile = Annotated[
    str, arg(help="a YAML file, as given or below configs/, e.g. dreamdist3d/mini.yaml", metavar="YAML")
]
Overrides = Annotated[
    Positional[tuple[str, ...]],
    arg(help="for any key of the configuration", metavar="[KEY=VALUE ...]", help_behavior_hint="(default: none)"),
]
LowVram = Annotated[bool, arg(help="less GPU memory for more time, as system.low_vram=true")]
BackboneName = Annotated[
    str,
    arg(help="mini, mvdream, mvdream15, sd15, sd21, a local folder or a checkpoint file", metavar="NAME|PATH"),
]
ReferenceFolder = Annotated[
    Path | None, arg(help="a folder of reference images", metavar="FOLDER", help_behavior_hint="(default: none)")
]
PictureFolder = Annotated[
    Path | None,
    arg(
        help="what `sample --cutout` wrote, if the meshes were made of its pictures: found by their names, with draws",
        metavar="FOLDER",
        help_behavior_hint="(default: none)",
    ),
]


def left_out(metavar: str, value: str) -> Any:
    """How the help shows an option that may be left out: what it takes, and the value it then has."""
    return arg(metavar=metavar, help_behavior_hint=f"(default: {value})")


def given(settings: object) -> dict[str, Any]:
    """The fields of a dataclass of options that were given, by name."""
    return {name: value for name, value in vars(settings).items() if value is not None}


def overridden(overrides: tuple[str, ...], low_vram: bool) -> list[str]:
    """The key=value words of a command, with those that its flags stand for."""
    return [*overrides, *(["system.low_vram=true"] if low_vram else [])]
