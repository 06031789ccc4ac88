"""GLB files, ours or anybody's, to meshes with vertex colours."""

from pathlib import Path

import numpy as np
import trimesh

from dreamdist3d.errors import UserError
from dreamdist3d.mesh.colors import linear_to_srgb


def read_mesh(path: Path) -> trimesh.Trimesh:
    """All meshes of a GLB file as one, in glTF axes (+Y up, front +Z), with sRGB uint8 vertex colours.

    Textures are read at the vertices. Colours from vertices or from the material alone are taken as
    linear light, as glTF defines them.

    Raises:
        UserError: missing, not a GLB file, or without triangles.
    """
    if not path.is_file():
        raise UserError(f"{path} does not exist; give the path of a GLB file.")
    try:
        parts = _parts(trimesh.load_scene(path, process=False))
    except Exception as error:  # the loader raises whatever its parsers meet in a broken file
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise UserError(f"{path} cannot be read as a mesh ({reason}); export it again.") from error
    if not parts:
        raise UserError(f"{path} holds no triangles; export it again.")
    if not all(np.isfinite(part.vertices).all() for part in parts):
        raise UserError(f"{path} holds vertices that are not finite; export it again.")
    return trimesh.util.concatenate(parts)


def _parts(scene: trimesh.Scene) -> list[trimesh.Trimesh]:
    """Every mesh where the scene places it. `Scene.dump` would copy, and lose vertex colours beside a material."""
    parts = []
    for node in scene.graph.nodes_geometry:
        transform, name = scene.graph[node]
        mesh = scene.geometry[name]
        if isinstance(mesh, trimesh.Trimesh) and len(mesh.faces):
            part = trimesh.Trimesh(mesh.vertices, mesh.faces, process=False)
            part.visual.vertex_colors = _srgb(mesh)
            parts.append(part.apply_transform(transform))
    return parts


def _srgb(mesh: trimesh.Trimesh) -> np.ndarray:
    visual = mesh.visual
    if visual.kind != "texture":
        return _encode(visual.vertex_colors)
    if "color" in visual.vertex_attributes:
        return _encode(visual.vertex_attributes["color"])
    if visual.uv is not None and getattr(visual.material, "baseColorTexture", None) is not None:
        return visual.to_color().vertex_colors
    return np.tile(_encode(visual.material.main_color[None]), (len(mesh.vertices), 1))


def _encode(linear: np.ndarray) -> np.ndarray:
    """Linear colours, integers of any width or floats, [N, 3 or 4] -> sRGB uint8."""
    full = np.iinfo(linear.dtype).max if linear.dtype.kind in "iu" else 1.0
    values = linear / full
    values[:, :3] = linear_to_srgb(values[:, :3])
    return np.round(255.0 * np.clip(values, 0.0, 1.0)).astype(np.uint8)
