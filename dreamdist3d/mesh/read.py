"""glTF, OBJ and PLY files, ours or anybody's, to painted meshes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import trimesh

from dreamdist3d.discovery import MESHES
from dreamdist3d.errors import UserError
from dreamdist3d.mesh.colors import color_vertices
from dreamdist3d.mesh.painted import Painted
from dreamdist3d.mesh.reading.common import Notes, checked_parts, shown
from dreamdist3d.mesh.reading.gltf_scene import read_gltf
from dreamdist3d.mesh.reading.obj import read_obj
from dreamdist3d.mesh.reading.ply import read_ply

_READERS: dict[str, Callable[[Path, Notes], list[Painted]]] = {
    ".glb": read_gltf,
    ".gltf": read_gltf,
    ".obj": read_obj,
    ".ply": read_ply,
}
READABLE = MESHES


@dataclass(frozen=True, eq=False)
class MeshFile:
    """What a file holds, and what of it could not be followed: one line each, for the user."""

    parts: list[Painted]
    not_followed: tuple[str, ...]


def read_mesh(path: Path) -> trimesh.Trimesh:
    """All meshes of a file as one, as `read_painted` gives them, with sRGB uint8 vertex colours.

    Textures are read at the vertices.

    Raises:
        UserError: missing, not such a file, or without triangles.
    """
    return merged(read_painted(path))


def merged(parts: Sequence[Painted]) -> trimesh.Trimesh:
    """Painted meshes as one, with sRGB uint8 vertex colours; textures are read at the vertices."""
    meshes: list[trimesh.Trimesh] = []
    for part in parts:
        mesh = trimesh.Trimesh(part.vertices, part.faces, process=False)
        color_vertices(mesh, part.vertex_colors())
        meshes.append(mesh)
    whole = trimesh.util.concatenate(meshes)
    assert isinstance(whole, trimesh.Trimesh)
    return whole


def read_painted(path: Path) -> list[Painted]:
    """Every mesh of a file where its scene places it, in the file's axes (glTF: +Y up, front +Z).

    In a glTF file, colours from vertices or from the material alone are taken as linear light, as glTF
    defines them; in OBJ and PLY files as sRGB, as everybody writes them.

    Raises:
        UserError: missing, not such a file, or without triangles.
    """
    return read_file(path).parts


def read_file(path: Path) -> MeshFile:
    """As `read_painted`, with the list of what could not be followed.

    Raises:
        UserError: missing, not such a file, broken, or without triangles that have an area.
    """
    if not path.is_file():
        raise UserError(f"{path} does not exist; give the path of a GLB file.")
    if path.suffix.lower() not in READABLE:
        raise UserError(f"{path} is none of {', '.join(READABLE)}; convert it to GLB.")
    notes = Notes()
    try:
        with np.errstate(all="ignore"):  # what is not finite is looked for once all is read
            parts = checked_parts(_READERS[path.suffix.lower()](path, notes), notes)
    except UserError as error:
        raise UserError(f"{path} cannot be read as a mesh: {error}") from error
    except Exception as error:  # readers raise whatever a broken file makes them meet
        reason = shown(f"{type(error).__name__}: {error}", 200)
        raise UserError(f"{path} cannot be read as a mesh ({reason}); export it again.") from error
    return MeshFile(parts, notes.lines)
