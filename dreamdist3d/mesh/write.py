"""Meshes with vertex colours to GLB files."""

from pathlib import Path

import numpy as np
import trimesh

from dreamdist3d.files import write_bytes
from dreamdist3d.mesh.axes import placement, to_gltf
from dreamdist3d.mesh.colors import srgb_to_linear, vertex_colors
from dreamdist3d.mesh.glb import pack_glb

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
    attributes = {
        "POSITION": placement(mesh.vertices).points(mesh.vertices).astype(np.float32),
        "NORMAL": unit_normals(to_gltf(mesh.vertex_normals)),
        "COLOR_0": _linear_colors(mesh),
    }
    data = pack_glb(attributes, mesh.faces, _MATERIAL, name=path.stem)
    write_bytes(path, data)


def unit_normals(normals: np.ndarray) -> np.ndarray:
    """[V, 3] as float32 of length 1; a vertex of no face has none, and points up, since glTF allows no zero normal."""
    length = np.linalg.norm(normals, axis=1, keepdims=True)
    return np.where(length > 1e-8, normals / np.maximum(length, 1e-8), [0.0, 1.0, 0.0]).astype(np.float32)


def _linear_colors(mesh: trimesh.Trimesh) -> np.ndarray:
    """[V, 4] uint16; opacity is linear in both encodings."""
    rgba = vertex_colors(mesh) / 255.0
    rgba[:, :3] = srgb_to_linear(rgba[:, :3])
    return np.round(65535.0 * rgba).astype(np.uint16)
