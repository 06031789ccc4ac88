"""Tangent frames and normals in them, as MikkTSpace defines them."""

import numpy as np

from dreamdist3d.mesh.texture.raster import unit


def vertex_tangents(vertices: np.ndarray, faces: np.ndarray, normals: np.ndarray, uv: np.ndarray) -> np.ndarray:
    """glTF's TANGENT: the direction in which u grows, and the sign of the bitangent, [V, 4].

    MikkTSpace's sums (Mikkelsen 2008): triangles' directions in the plane of the vertex normal,
    weighted by the angle at the vertex, at vertices already split where the texture is. What differs
    is the group of a vertex: all its triangles, where MikkTSpace takes those that hang together.

    Args:
        vertices: [V, 3]
        faces: [F, 3]
        normals: [V, 3], unit.
        uv: [V, 2], v down.
    """
    corners, flat = vertices[faces], uv[faces] * [1.0, -1.0]  # the bitangent points up in the picture
    sides, steps = corners[:, 1:] - corners[:, :1], flat[:, 1:] - flat[:, :1]
    area = steps[:, 0, 0] * steps[:, 1, 1] - steps[:, 0, 1] * steps[:, 1, 0]
    along_u = np.sign(area)[:, None] * (sides[:, 0] * steps[:, 1, 1, None] - sides[:, 1] * steps[:, 0, 1, None])
    total, handed = np.zeros((len(vertices), 3)), np.zeros(len(vertices))
    for k in range(3):
        rows = faces[:, k]
        one, two = (_in_plane(corners[:, (k + step) % 3] - corners[:, k], normals[rows]) for step in (1, 2))
        angle = np.arccos(np.einsum("fj,fj->f", one, two).clip(-1.0, 1.0))
        np.add.at(total, rows, _in_plane(along_u, normals[rows]) * angle[:, None])
        np.add.at(handed, rows, area)
    tangents = unit(total)
    lost = ~tangents.any(axis=1)
    tangents[lost] = _any_across(normals[lost])
    return np.concatenate([tangents, np.where(handed < 0, -1.0, 1.0)[:, None]], axis=1)


def tangent_space(directions: np.ndarray, normals: np.ndarray, tangents: np.ndarray) -> np.ndarray:
    """Unit directions [N, 3] in frames of interpolated, not normalised normals [N, 3] and tangents [N, 4].

    A shader that follows MikkTSpace (x tangent + y bitangent + z normal, then normalised) gives the
    directions back.
    """
    along, sign = tangents[:, :3], np.sign(tangents[:, 3:])
    bitangents = sign * np.cross(normals, along)
    # The rows of the frame's inverse, but for its determinant, of which the sign is the handedness.
    rows = (np.cross(bitangents, normals), np.cross(normals, along), np.cross(along, bitangents))
    return unit(sign * np.stack([np.einsum("nj,nj->n", row, directions) for row in rows], axis=1))


def _in_plane(vectors: np.ndarray, normals: np.ndarray) -> np.ndarray:
    return unit(vectors - normals * np.einsum("nj,nj->n", vectors, normals)[:, None])


def _any_across(normals: np.ndarray) -> np.ndarray:
    axis = np.eye(3)[np.abs(normals).argmin(axis=1)]
    return unit(np.cross(normals, axis))
