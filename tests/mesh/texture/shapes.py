"""Shapes, paint and figures for tests of textures."""

import numpy as np
import trimesh

from dreamdist3d.mesh.painted import sample_texture
from dreamdist3d.mesh.texture import TexturedMesh


def ball(subdivisions: int = 3, radius: float = 0.6) -> trimesh.Trimesh:
    return trimesh.creation.icosphere(subdivisions=subdivisions, radius=radius)


def ring() -> trimesh.Trimesh:
    return trimesh.creation.torus(0.6, 0.2, major_sections=48, minor_sections=24)


def plate() -> trimesh.Trimesh:
    mesh = trimesh.creation.box((1.5, 1.0, 0.02))
    return trimesh.Trimesh(*trimesh.remesh.subdivide_to_size(mesh.vertices, mesh.faces, 0.2))


def blobs() -> trimesh.Trimesh:
    one, two = ball(3, 0.35), ball(2, 0.2)
    one.apply_translation((0.5, 0, 0))
    two.apply_translation((-0.4, 0, 0))
    return trimesh.util.concatenate([one, two])


def spring() -> trimesh.Trimesh:
    """A closed tube that winds above itself three times."""
    turn = np.linspace(0, 6 * np.pi, 120)[:, None]
    path = 0.5 * np.concatenate([np.cos(turn), np.sin(turn), turn / 10 - 0.9], axis=1)
    around = np.arange(12) * np.pi / 6
    tube = path[:, None] + 0.09 * (
        np.concatenate([np.cos(turn), np.sin(turn), 0 * turn], axis=1)[:, None] * np.cos(around)[None, :, None]
        + np.array([0, 0, 1.0]) * np.sin(around)[None, :, None]
    )
    row, column = (x.reshape(-1) for x in np.meshgrid(np.arange(119), np.arange(12), indexing="ij"))
    here, beside = row * 12 + column, row * 12 + (column + 1) % 12
    sides = np.concatenate([np.stack([here, here + 12, beside], 1), np.stack([beside, here + 12, beside + 12], 1)])
    ends = [[0, k, k + 1] for k in range(1, 11)] + [[1428, 1428 + k + 1, 1428 + k] for k in range(1, 11)]
    mesh = trimesh.Trimesh(tube.reshape(-1, 3), np.concatenate([sides, ends]), process=False)
    if mesh.volume < 0:
        mesh.invert()
    return mesh


SHAPES = {"ball": ball, "ring": ring, "plate": plate, "blobs": blobs, "spring": spring}


def checker(points: np.ndarray, normals: np.ndarray) -> np.ndarray:
    """Cubes of edge 0.2, dark red and light green."""
    odd = np.floor(points / 0.2 + 0.5).sum(axis=1) % 2
    return np.where(odd[:, None] > 0, [0.7, 0.2, 0.1], [0.5, 0.9, 0.6])


def gradient(points: np.ndarray, normals: np.ndarray) -> np.ndarray:
    """The colour is the place."""
    return points / 2 + 0.5


def surface_points(mesh: TexturedMesh, count: int = 20_000, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Random points, even over the area, and their texture coordinates."""
    plain = trimesh.Trimesh(mesh.vertices, mesh.faces, process=False)
    points, face = trimesh.sample.sample_surface(plain, count, seed=seed)
    weights = trimesh.triangles.points_to_barycentric(plain.triangles[face], points)
    return points, np.einsum("nk,nkj->nj", weights, mesh.uv[mesh.faces[face]])


def read_albedo(mesh: TexturedMesh, uv: np.ndarray) -> np.ndarray:
    return sample_texture(mesh.maps.albedo, uv)


def psnr(one: np.ndarray, two: np.ndarray) -> float:
    return float(-10 * np.log10(((one - two) ** 2).mean()))
