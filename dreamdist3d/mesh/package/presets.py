"""What each engine wants of a package; docs/meshes.md names the page of its manual that says so."""

import re
from dataclasses import dataclass

from dreamdist3d.choices import MeshFormat, PresetName


@dataclass(frozen=True)
class Preset:
    """How the parts of an asset are named and divided into files."""

    formats: tuple[MeshFormat, ...]
    hull: str  # a hull's name, of the asset's name and a number
    hulls_inside: bool  # in the file of LOD0, because the importer knows hulls by their names; else in one of their own
    obj_levels_inside: bool = False  # all levels as objects of one OBJ file, because the importer groups them by name


PRESETS: dict[PresetName, Preset] = {
    "unity": Preset(("glb", "obj"), "{name}_hull_{number:02d}", hulls_inside=False, obj_levels_inside=True),
    "unreal": Preset(("glb",), "UCX_{name}_{number:02d}", hulls_inside=True),
    "godot": Preset(("glb",), "{name}_{number:02d}-convcolonly", hulls_inside=True),
    "web": Preset(("glb",), "{name}_hull_{number:02d}", hulls_inside=False),
}

# Godot makes something else of a node whose name ends so, digits after it or not.
_GODOT_WORDS = "noimp|col|convcol|colonly|convcolonly|occ|occonly|navmesh|vehicle|wheel|rigid|loop|cycle"
_GODOT_SUFFIX = re.compile(rf"[-_$]({_GODOT_WORDS})[\d.]*$", re.IGNORECASE)


def node_name(name: str, preset: PresetName) -> str:
    """The name of the asset's node: its own, unless the engine would read an order in its last word."""
    return f"{name}_mesh" if preset == "godot" and _GODOT_SUFFIX.search(name) else name


def level_name(name: str, level: int) -> str:
    """`name` itself for LOD0, `name_LOD1` and so on."""
    return f"{name}_LOD{level}" if level else name
