"""Squared distances to planes as quadratic forms (Garland and Heckbert 1997)."""

import numpy as np

_SEAM_WEIGHT = 4.0  # of a seam's course against the surface's


def vertex_quadrics(
    points: np.ndarray,  # [P, 3]
    corners: np.ndarray,  # [F, 3], into points
    seams: np.ndarray,  # [S, 2], into points; the ends of the sides that are seams
    beside: np.ndarray,  # [S], the face at each
) -> np.ndarray:
    """[P, 4, 4]: of the planes around each place, weighted by area, and of planes upright on its seams."""
    triangles = points[corners]
    normals = np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])
    result = np.zeros((len(points), 4, 4))
    for k in range(3):
        np.add.at(result, corners[:, k], _planes(normals, triangles[:, 0], np.linalg.norm(normals, axis=1)))
    along = points[seams[:, 1]] - points[seams[:, 0]]
    upright = np.cross(along, unit_or_zero(normals[beside]))
    planes = _planes(upright, points[seams[:, 0]], _SEAM_WEIGHT * (along**2).sum(axis=1))
    for k in range(2):
        np.add.at(result, seams[:, k], planes)
    return result


def quadric_errors(quadrics: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Of quadrics [N, 4, 4] at points [N, 3]: [N], >= 0."""
    there = np.concatenate([points, np.ones((len(points), 1))], axis=1)
    return np.maximum(((quadrics @ there[:, :, None])[:, :, 0] * there).sum(axis=1), 0.0)


def unit_or_zero(vectors: np.ndarray) -> np.ndarray:
    """[N, 3] at length 1; those without length stay 0."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-30)


def _planes(normals: np.ndarray, points: np.ndarray, weights: np.ndarray) -> np.ndarray:
    direction = unit_or_zero(normals)
    plane = np.concatenate([direction, -np.einsum("nj,nj->n", direction, points)[:, None]], axis=1)
    return weights[:, None, None] * plane[:, :, None] * plane[:, None, :]
