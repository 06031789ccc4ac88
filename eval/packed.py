"""A mesh as text inside a page."""

import base64
import struct

import numpy as np
import trimesh

from dreamdist3d.eval.diversity.extent import framed_vertices

TRIANGLES = 200_000  # of one mesh
PAGE_BYTES = 32_000_000  # of all meshes of a page, as text; phones open it still
_STEPS = 32767  # to each side of the middle


def pack_mesh(mesh: trimesh.Trimesh) -> str:
    """Base64 of little-endian: V and F (uint32), positions (int16 [V, 3]), colours (uint8 [V, 4]), faces (uint32).

    Positions are those in the bounding sphere of radius 1 around the middle of the bounding box, in steps of 1/32767;
    they are padded to four bytes.

    Raises:
        ValueError: all vertices lie in one point.
    """
    positions = np.round(framed_vertices(mesh) * _STEPS).astype("<i2").tobytes()
    positions += bytes(-len(positions) % 4)
    colors = np.ascontiguousarray(mesh.visual.vertex_colors, dtype=np.uint8).tobytes()
    faces = np.ascontiguousarray(mesh.faces, dtype="<u4").tobytes()
    return base64.b64encode(
        struct.pack("<II", len(mesh.vertices), len(mesh.faces)) + positions + colors + faces
    ).decode()
