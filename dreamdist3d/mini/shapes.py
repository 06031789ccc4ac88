"""Solid building blocks for the procedural families: thin wrappers that place trimesh primitives."""

from collections.abc import Sequence

import numpy as np
import trimesh

Vec3 = Sequence[float]


def box(size: Vec3, center: Vec3) -> trimesh.Trimesh:
    """An axis-aligned box of extents `size` around `center`."""
    return trimesh.creation.box(extents=size, transform=_moved(center))


def ball(radius: float, center: Vec3, squash: Vec3 = (1, 1, 1)) -> trimesh.Trimesh:
    """An ellipsoid: a sphere of `radius` scaled per axis by `squash`."""
    mesh = trimesh.creation.icosphere(subdivisions=3, radius=radius)
    mesh.apply_scale(squash)
    return _at(mesh, center)


def lathe(profile: Sequence[tuple[float, float]], center: Vec3 = (0, 0, 0)) -> trimesh.Trimesh:
    """The solid of revolution of (radius, height) pairs around +z, listed from the bottom up."""
    return _at(trimesh.creation.revolve(np.asarray(profile, dtype=float), sections=40), center)


def rod(start: Vec3, end: Vec3, radius: float) -> trimesh.Trimesh:
    """A cylinder between two points."""
    return trimesh.creation.cylinder(radius=radius, segment=[list(start), list(end)], sections=20)


def cone(start: Vec3, end: Vec3, start_radius: float, end_radius: float) -> trimesh.Trimesh:
    """A truncated cone between two points."""
    along = np.subtract(end, start, dtype=float)
    length = float(np.linalg.norm(along))
    mesh = trimesh.creation.revolve(
        np.array([(0, 0), (start_radius, 0), (end_radius, length), (0, length)], dtype=float), sections=20
    )
    mesh.apply_transform(trimesh.geometry.align_vectors([0, 0, 1], along / length))
    return _at(mesh, start)


def ring(radius: float, thickness: float, center: Vec3, axis: str) -> trimesh.Trimesh:
    """A torus whose hole points along `axis` ("x", "y" or "z")."""
    mesh = trimesh.creation.torus(radius, thickness, major_sections=32, minor_sections=16)
    turn = {"x": (np.pi / 2, [0, 1, 0]), "y": (np.pi / 2, [1, 0, 0]), "z": (0.0, [0, 0, 1])}[axis]
    mesh.apply_transform(trimesh.transformations.rotation_matrix(*turn))
    return _at(mesh, center)


def wheel(radius: float, width: float, center: Vec3) -> trimesh.Trimesh:
    """A cylinder lying along y."""
    x, y, z = center
    return rod((x, y - width / 2, z), (x, y + width / 2, z), radius)


def gable(size: Vec3, base_center: Vec3) -> trimesh.Trimesh:
    """A triangular prism (a roof): `size` = depth (x), width (y), height; the ridge runs along y."""
    depth, width, height = size
    corners = [(sx * depth / 2, sy * width / 2, 0.0) for sx in (-1, 1) for sy in (-1, 1)]
    ridge = [(0.0, sy * width / 2, height) for sy in (-1, 1)]
    return _at(hull(corners + ridge), base_center)


def pyramid(size: Vec3, base_center: Vec3) -> trimesh.Trimesh:
    """A pyramid over a rectangle: `size` = depth (x), width (y), height."""
    depth, width, height = size
    corners = [(sx * depth / 2, sy * width / 2, 0.0) for sx in (-1, 1) for sy in (-1, 1)]
    return _at(hull([*corners, (0.0, 0.0, height)]), base_center)


def hull(points: Sequence[Vec3] | np.ndarray) -> trimesh.Trimesh:
    """The convex hull of `points`."""
    return trimesh.convex.convex_hull(np.asarray(points, dtype=float))


def plate(points: Sequence[Vec3], thickness: float) -> trimesh.Trimesh:
    """The convex hull of flat `points` thickened by `thickness` along y (a fin)."""
    flat = np.asarray(points, dtype=float)
    offset = np.array([0.0, thickness / 2, 0.0])
    return hull(np.concatenate([flat + offset, flat - offset]))


def turned(mesh: trimesh.Trimesh, angle_deg: float) -> trimesh.Trimesh:
    """A copy rotated about +z."""
    copy = mesh.copy()
    copy.apply_transform(trimesh.transformations.rotation_matrix(np.radians(angle_deg), [0, 0, 1]))
    return copy


def _moved(center: Vec3) -> np.ndarray:
    return trimesh.transformations.translation_matrix(center)


def _at(mesh: trimesh.Trimesh, center: Vec3) -> trimesh.Trimesh:
    mesh.apply_translation(center)
    return mesh
