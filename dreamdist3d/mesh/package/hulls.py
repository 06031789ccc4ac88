"""Convex hulls that together cover a mesh, for an engine's collisions."""

import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import trimesh
from scipy.ndimage import binary_dilation
from scipy.spatial import ConvexHull, HalfspaceIntersection, QhullError

from dreamdist3d.mesh.simplify import simplify
from dreamdist3d.mesh.surface import closed_surface

_WORKER = Path(__file__).with_name("coacd_worker.py")
# The decomposition sees this many triangles: its time grows faster than their number, and hulls are coarse anyway.
_TRIANGLES = 1000
# A polytope of n planes has at most 2n - 4 corners and 4n - 12 triangles: 40 planes stay below the 255 that
# Unity's convex colliders take.
_PLANES = 40
_VOXELS = 40  # along the largest extent of the stand-in for an open mesh
_SEAL = 0.15  # openings up to this share of it are closed, and what lies behind them counts as solid
_MOST_POINTS = 100_000
_TOLERANCE = 0.01  # how far a simplified hull may stand off its part, relative to the mesh


@dataclass(frozen=True)
class Hulls:
    """Convex meshes without paint."""

    meshes: tuple[trimesh.Trimesh, ...]
    warnings: tuple[str, ...] = ()


def convex_hulls(mesh: trimesh.Trimesh, most: int, seconds: float) -> Hulls:
    """At most `most` convex meshes of at most 148 triangles each; every vertex of the mesh lies in one.

    The parts are coacd's (Wei et al. 2022); where it fails or takes longer than `seconds`, one hull around
    everything, with a warning.
    """
    points = mesh.vertices.view(np.ndarray)
    slack = _TOLERANCE * float(mesh.extents.max())
    try:
        parts, swollen = _decomposed(mesh, most, seconds)
    except subprocess.TimeoutExpired:
        return Hulls((_simple_hull(points, slack),), (f"coacd took longer than {seconds:g} s; one hull covers all.",))
    except _Failed as error:
        return Hulls((_simple_hull(points, slack),), (f"coacd failed ({error}); one hull covers all.",))
    if swollen:
        points = np.concatenate([points, _surface_points(mesh)])
    return Hulls(tuple(_simple_hull(part, slack) for part in _covering(parts, points, swollen)))


class _Failed(Exception):
    """coacd gave no parts; the reason, in a few words."""


def _decomposed(mesh: trimesh.Trimesh, most: int, seconds: float) -> tuple[list[np.ndarray], bool]:
    """The vertices of each part, and whether they stand off the mesh, having been cut from a closed stand-in."""
    coarse, swollen = simplify(mesh, _TRIANGLES), False
    if not coarse.is_watertight or len(coarse.faces) > 2 * _TRIANGLES:
        coarse, swollen = simplify(_closed(mesh), _TRIANGLES), True
    with tempfile.TemporaryDirectory(prefix="hulls-") as folder:
        source, target = Path(folder, "mesh.npz"), Path(folder, "parts.npz")
        np.savez(source, vertices=coarse.vertices, faces=coarse.faces, most=most)
        command = [sys.executable, str(_WORKER), str(source), str(target)]
        # On a timeout `run` kills the process and waits for its end.
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds)
        if done.returncode or not target.exists():
            raise _Failed((done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1])
        with np.load(target) as result:
            parts = [result[key] for key in result]
    if not parts or not all(np.isfinite(part).all() for part in parts):
        raise _Failed("no parts")
    return parts, swollen


def _closed(mesh: trimesh.Trimesh) -> trimesh.Trimesh:
    """A closed stand-in for an open mesh: every voxel that its surface goes through, and what they enclose.

    coacd makes one too, but a fine one, over which its search takes minutes.
    """
    middle, radius = mesh.bounds.mean(axis=0), float(mesh.extents.max()) * (0.5 + 2.0 / _VOXELS)
    cell = ((_surface_points(mesh) - middle + radius) * (_VOXELS / (2.0 * radius))).astype(int).clip(0, _VOXELS - 1)
    grid = np.zeros((_VOXELS,) * 3)
    grid[tuple(cell.T)] = 1.0
    stand_in = closed_surface(binary_dilation(grid > 0).astype(float), radius, 0.5, 0.6, _SEAL)
    return stand_in.apply_translation(middle)


def _surface_points(mesh: trimesh.Trimesh) -> np.ndarray:
    """Points [N, 3] on the surface, some to every voxel of the stand-in that it goes through."""
    spacing = float(mesh.extents.max()) / _VOXELS / 2.0
    count = int(np.clip(4.0 * mesh.area / spacing**2, 1000, _MOST_POINTS))
    return trimesh.sample.sample_surface(mesh, count, seed=0)[0]


def _covering(parts: list[np.ndarray], points: np.ndarray, swollen: bool) -> list[np.ndarray]:
    """The parts with every point of the mesh added to the one that it lies in or next to; swollen ones give way."""
    outside = np.stack([_distance(_hull(part), points) for part in parts])  # [P, N]
    owner = outside.argmin(axis=0)
    if swollen:
        return [points[owner == number] for number in np.unique(owner)]
    return [np.concatenate([part, points[owner == number]]) for number, part in enumerate(parts)]


def _simple_hull(points: np.ndarray, slack: float) -> trimesh.Trimesh:
    """A polytope of few planes around all points, each plane touching their hull.

    Plane after plane cuts off the corner that stands off furthest: vertices left out of a hull would shrink
    it, planes left out only make it a little larger.
    """
    hull = _hull(points)
    axes = np.concatenate([np.eye(3), -np.eye(3)])
    planes = np.column_stack([axes, -(hull.points @ axes.T).max(axis=0)])  # [n, 4]: inside is negative
    centre = hull.points[hull.vertices].mean(axis=0)
    while True:
        corners = HalfspaceIntersection(planes, centre).intersections
        excess = corners @ hull.equations[:, :3].T + hull.equations[:, 3]  # [corners, faces]
        worst = np.unravel_index(excess.argmax(), excess.shape)
        if excess[worst] <= slack or len(planes) == _PLANES:
            return trimesh.convex.convex_hull(corners)
        planes = np.concatenate([planes, hull.equations[worst[1] : worst[1] + 1]])


def _hull(points: np.ndarray) -> ConvexHull:
    try:
        return ConvexHull(points)
    except QhullError:  # flat: a hull needs some thickness
        thickness = 1e-3 * np.ptp(points, axis=0).max() or 1e-6
        corners = trimesh.creation.box([thickness] * 3).vertices
        return ConvexHull((points[:, None] + corners).reshape(-1, 3))


def _distance(hull: ConvexHull, points: np.ndarray) -> np.ndarray:
    """How far each of [N, 3] points lies outside the hull's nearest plane; negative inside."""
    return (points @ hull.equations[:, :3].T + hull.equations[:, 3]).max(axis=1)
