"""GLB, OBJ and PLY files, ours or anybody's, to painted meshes."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import trimesh

from dreamdist3d.errors import UserError
from dreamdist3d.mesh.colors import linear_to_srgb, srgb_to_linear
from dreamdist3d.mesh.painted import Painted

READABLE = (".glb", ".obj", ".ply")
_BARE = np.uint8([200, 200, 200, 255])  # of meshes that no file gives a colour


def read_mesh(path: Path) -> trimesh.Trimesh:
    """All meshes of a file as one, as `read_painted` gives them, with sRGB uint8 vertex colours.

    Textures are read at the vertices.

    Raises:
        UserError: missing, not such a file, or without triangles.
    """
    return merged(read_painted(path))


def merged(parts: Sequence[Painted]) -> trimesh.Trimesh:
    """Painted meshes as one, with sRGB uint8 vertex colours; textures are read at the vertices."""
    meshes = []
    for part in parts:
        mesh = trimesh.Trimesh(part.vertices, part.faces, process=False)
        mesh.visual.vertex_colors = part.vertex_colors()
        meshes.append(mesh)
    return trimesh.util.concatenate(meshes)


def read_painted(path: Path) -> list[Painted]:
    """Every mesh of a file where its scene places it, in the file's axes (glTF: +Y up, front +Z).

    In a GLB file, colours from vertices or from the material alone are taken as linear light, as glTF
    defines them; in OBJ and PLY files as sRGB, as everybody writes them.

    Raises:
        UserError: missing, not such a file, or without triangles.
    """
    if not path.is_file():
        raise UserError(f"{path} does not exist; give the path of a GLB file.")
    if path.suffix.lower() not in READABLE:
        raise UserError(f"{path} is none of {', '.join(READABLE)}; convert it to GLB.")
    try:
        parts = _parts(trimesh.load_scene(path, process=False), is_linear=path.suffix.lower() == ".glb")
    except Exception as error:  # the loader raises whatever its parsers meet in a broken file
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise UserError(f"{path} cannot be read as a mesh ({reason}); export it again.") from error
    if not parts:
        raise UserError(f"{path} holds no triangles; export it again.")
    if not all(np.isfinite(part.vertices).all() for part in parts):
        raise UserError(f"{path} holds vertices that are not finite; export it again.")
    return parts


def _parts(scene: trimesh.Scene, is_linear: bool) -> list[Painted]:
    """Not by `Scene.dump`, which would copy, and lose vertex colours beside a material."""
    parts = []
    for node in scene.graph.nodes_geometry:
        transform, name = scene.graph[node]
        mesh = scene.geometry[name]
        if isinstance(mesh, trimesh.Trimesh) and len(mesh.faces):
            placed = trimesh.Trimesh(mesh.vertices, mesh.faces, process=False).apply_transform(transform)
            parts.append(
                Painted(placed.vertices.view(np.ndarray), placed.faces.view(np.ndarray), **_paint(mesh, is_linear))
            )
    return parts


def _paint(mesh: trimesh.Trimesh, is_linear: bool) -> dict[str, np.ndarray]:
    visual = mesh.visual
    if visual.kind != "texture":
        stored = visual.vertex_colors if visual.kind else np.tile(_BARE, (len(mesh.vertices), 1))
        return {"colors": _srgb(stored, is_linear and bool(visual.kind))}
    if "color" in visual.vertex_attributes:
        return {"colors": _srgb(visual.vertex_attributes["color"], is_linear)}
    image = getattr(visual.material, "baseColorTexture", None) or getattr(visual.material, "image", None)
    if visual.uv is None or image is None:
        return {"colors": np.tile(_srgb(visual.material.main_color[None], is_linear), (len(mesh.vertices), 1))}
    texture = np.asarray(image.convert("RGB"))
    factor = getattr(visual.material, "baseColorFactor", None)
    if factor is not None and (factor[:3] != 255).any():
        texture = _encode(srgb_to_linear(texture / 255.0) * (factor[:3] / 255.0))
    return {"uv": visual.uv * [1.0, -1.0] + [0.0, 1.0], "texture": texture}


def _srgb(stored: np.ndarray, is_linear: bool) -> np.ndarray:
    """Colours, integers of any width or floats, [N, 3 or 4] -> sRGB uint8 [N, 3]."""
    full = np.iinfo(stored.dtype).max if stored.dtype.kind in "iu" else 1.0
    values = stored[:, :3] / full
    return _encode(values) if is_linear else _bytes(values)


def _encode(linear: np.ndarray) -> np.ndarray:
    return _bytes(linear_to_srgb(linear))


def _bytes(values: np.ndarray) -> np.ndarray:
    return np.round(255.0 * np.clip(values, 0.0, 1.0)).astype(np.uint8)
