"""A letter F with a peg at its front: turned, mirrored or swapped axes all show."""

from dataclasses import replace

import numpy as np
import trimesh

from dreamdist3d.mesh.package.parts import Package, Part
from dreamdist3d.mesh.texture import TextureMaps
from dreamdist3d.mesh.texture.tangents import vertex_tangents

ROWS = ("###", "#..", "##.", "#..", "#..")  # as seen from the front
PEG = (0, 2)  # row and column of the cube that stands out toward the viewer

# By the direction a triangle faces, in glTF axes: +X, -X, +Y, -Y, +Z (the front), -Z.
COLORS = np.uint8([[220, 30, 40], [30, 200, 60], [40, 60, 230], [230, 220, 30], [128, 64, 200], [17, 170, 187]])


def cells() -> set[tuple[int, int, int]]:
    """Columns from the viewer's left, heights from the ground, depths toward the viewer."""
    full = {(c, len(ROWS) - 1 - r, 0) for r, row in enumerate(ROWS) for c, mark in enumerate(row) if mark == "#"}
    return full | {(PEG[1], len(ROWS) - 1 - PEG[0], 1)}


def letter() -> trimesh.Trimesh:
    """The F in world axes (z up, front +x), one unit a cell, away from the origin; closed, no vertices shared."""
    boxes = [
        trimesh.creation.box(bounds=[(depth, column, height), (depth + 1, column + 1, height + 1)])
        for column, height, depth in sorted(cells())
    ]
    whole = trimesh.boolean.union(boxes, engine="manifold")
    return whole.apply_translation((3.0, -7.0, 11.0))


def is_letter(mesh: trimesh.Trimesh, unit: float) -> bool:
    """Whether a mesh in glTF axes is the F: `unit` a cell, base centred on the origin, front +Z, outward faces."""
    places = [(c, h, d) for c in range(3) for h in range(5) for d in range(2)]
    centres = (np.array(places) + 0.5 - [1.5, 0.0, 1.0]) * unit
    found = {place for place, inside in zip(places, mesh.contains(centres), strict=True) if inside}
    size = np.allclose(mesh.bounds, np.array([[-1.5, 0, -1], [1.5, 5, 1]]) * unit, atol=1e-5 * unit)
    return size and found == cells() and bool(np.isclose(mesh.volume, len(cells()) * unit**3, rtol=1e-4))


def side_of(normals: np.ndarray) -> np.ndarray:
    """The row of `COLORS` for each of [N, 3] normals in glTF axes."""
    axis = np.abs(normals).argmax(axis=1)
    return 2 * axis + (normals[np.arange(len(axis)), axis] < 0)


def package(name: str = "letter", size: int = 64, levels: int = 2, hulls: int = 2) -> Package:
    """The F as a package in file axes, each side's colour in a square of its own of the texture."""
    mesh = letter()
    mesh.apply_translation(-mesh.bounds[0])
    vertices = (mesh.triangles.reshape(-1, 3) - [1.0, 1.5, 0.0])[:, [1, 2, 0]]
    faces = np.arange(len(vertices)).reshape(-1, 3)
    normals = np.repeat(mesh.face_normals[:, [1, 2, 0]], 3, axis=0)
    side = side_of(normals)
    corner = np.tile([[0.25, 0.25], [0.75, 0.25], [0.25, 0.75]], (len(faces), 1))
    uv = (np.stack([side % 4, side // 4], axis=1) + corner) / 4
    albedo = np.zeros((size, size, 3), np.uint8)
    for number, color in enumerate(COLORS):
        row, column = number // 4 * size // 4, number % 4 * size // 4
        albedo[row : row + size // 4, column : column + size // 4] = color
    flat = np.full((size, size, 3), (128, 128, 255), np.uint8)
    maps = TextureMaps(albedo, flat, np.full((size, size), 200, np.uint8), np.ones((size, size), bool))
    tangents = vertex_tangents(vertices, faces, normals, uv)
    part = Part(name, vertices, faces, normals, uv, tangents)
    further = [replace(part, name=f"{name}_LOD{n}") for n in range(1, levels)]
    box = trimesh.creation.box(bounds=mesh.bounds[:, [1, 2, 0]] - [1.5, 0.0, 1.0])
    return Package(
        name, (part, *further), tuple(Part(f"hull_{n}", box.vertices, box.faces) for n in range(hulls)), maps
    )
