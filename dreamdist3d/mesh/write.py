"""Meshes to GLB files."""

from pathlib import Path

import numpy as np
import trimesh

from dreamdist3d.files import write_atomic
from dreamdist3d.mesh.colors import srgb_to_linear
from dreamdist3d.mesh.glb import pack_glb

_TO_GLTF = [1, 2, 0]  # world (x, y, z) -> glTF (y, z, x): +Y up, front +Z, still right-handed
_MATERIAL = {
    "name": "vertex colours",
    "pbrMetallicRoughness": {"baseColorFactor": [1, 1, 1, 1], "metallicFactor": 0.0, "roughnessFactor": 0.9},
}


def write_glb(mesh: trimesh.Trimesh, path: Path) -> None:
    """Write a mesh in world axes (z up, front +x) with sRGB vertex colours as GLB.

    In the file +Y is up and the front faces +Z; the base's centre is the origin: the bounding box is
    centred in the ground plane and stands on it. Units are metres. Colours are stored as the standard
    asks, in linear light; 16 bits a channel, because 8 would merge the dark tones.

    Raises:
        UserError: the file cannot be written.
    """
    vertices = mesh.vertices[:, _TO_GLTF]
    low, high = vertices.min(axis=0), vertices.max(axis=0)
    base = np.array([(low[0] + high[0]) / 2, low[1], (low[2] + high[2]) / 2])
    attributes = {
        "POSITION": (vertices - base).astype(np.float32),
        "NORMAL": mesh.vertex_normals[:, _TO_GLTF].astype(np.float32),
        "COLOR_0": _linear_colors(mesh),
    }
    data = pack_glb(attributes, mesh.faces.astype(np.uint32), _MATERIAL, name=path.stem)
    write_atomic(path, lambda temporary: temporary.write_bytes(data))


def _linear_colors(mesh: trimesh.Trimesh) -> np.ndarray:
    """[V, 4] uint16; opacity is linear in both encodings."""
    rgba = mesh.visual.vertex_colors / 255.0
    rgba[:, :3] = srgb_to_linear(rgba[:, :3])
    return np.round(65535.0 * rgba).astype(np.uint16)
