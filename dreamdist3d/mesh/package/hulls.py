"""Convex hulls that together cover a mesh, for an engine's collisions."""

import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import trimesh
from scipy.spatial import ConvexHull, HalfspaceIntersection, QhullError

from dreamdist3d.mesh.simplify import simplify

_WORKER = Path(__file__).with_name("coacd_worker.py")
# The decomposition sees this many triangles: its time grows faster than their number, and hulls are coarse anyway.
_TRIANGLES = 1000
# A polytope of n planes has at most 2n - 4 corners and 4n - 12 triangles: 40 planes stay below the 255 that
# Unity's convex colliders take.
_PLANES = 40
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
    try:
        parts, warnings = _decomposed(mesh, most, seconds), ()
    except subprocess.TimeoutExpired:
        parts, warnings = [mesh.vertices], (f"coacd took longer than {seconds:g} s; one hull covers all.",)
    except _Failed as error:
        parts, warnings = [mesh.vertices], (f"coacd failed ({error}); one hull covers all.",)
    slack = _TOLERANCE * float(mesh.extents.max())
    return Hulls(tuple(_simple_hull(part, slack) for part in _covering(parts, mesh.vertices)), warnings)


class _Failed(Exception):
    """coacd gave no parts; the reason, in a few words."""


def _decomposed(mesh: trimesh.Trimesh, most: int, seconds: float) -> list[np.ndarray]:
    """The vertices of each part."""
    coarse = simplify(mesh, _TRIANGLES)
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
    return parts


def _covering(parts: list[np.ndarray], vertices: np.ndarray) -> list[np.ndarray]:
    """The parts with every vertex of the mesh added to the one that it lies in or next to."""
    outside = np.stack([_distance(_hull(part), vertices) for part in parts])  # [P, V]
    owner = outside.argmin(axis=0)
    return [np.concatenate([part, vertices[owner == number]]) for number, part in enumerate(parts)]


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
