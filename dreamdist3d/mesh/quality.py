"""Figures that tell how good a mesh is."""

from dataclasses import dataclass

import numpy as np
import trimesh

from dreamdist3d.mesh.components import component_labels
from dreamdist3d.mesh.nearest import nearest_on

# Three points inside each triangle: exact for quadratics (Strang and Fix 1973).
_POINTS = np.full((3, 3), 1 / 6) + np.eye(3) / 2
_FINE = 50_000  # triangles; so many are sampled densely enough by their middles


@dataclass(frozen=True)
class MeshQuality:
    """What an engine's artist would ask of a mesh; lengths in the mesh's own unit."""

    triangles: int
    components: int  # connected parts
    watertight: bool
    euler_number: int  # V - E + F
    genus: int | None  # handles of all parts together; None for an open mesh
    area: float
    volume: float | None  # None for an open mesh
    extents: tuple[float, float, float]
    deviation_mean: float | None  # area-weighted, both ways, from the reference surface; None without one
    deviation_max: float | None  # the farthest that either is from the other (Hausdorff distance, sampled)


def measure_quality(mesh: trimesh.Trimesh, reference_surface: trimesh.Trimesh | None = None) -> MeshQuality:
    """The figures of one mesh.

    Args:
        mesh: vertices must be welded; those of a textured mesh are split at the borders of charts.
        reference_surface: what the mesh stands for, such as the isosurface before simplification.
    """
    components = int(component_labels(mesh).max()) + 1
    closed = bool(mesh.is_watertight)
    width, height, depth = map(float, mesh.extents)
    mean, largest = (None, None) if reference_surface is None else _deviation(mesh, reference_surface)
    return MeshQuality(
        triangles=len(mesh.faces),
        components=components,
        watertight=closed,
        euler_number=int(mesh.euler_number),
        genus=components - int(mesh.euler_number) // 2 if closed else None,
        area=float(mesh.area),
        volume=float(mesh.volume) if closed else None,
        extents=(width, height, depth),
        deviation_mean=mean,
        deviation_max=largest,
    )


def _deviation(one: trimesh.Trimesh, two: trimesh.Trimesh) -> tuple[float, float]:
    there, back = _distances(one, two), _distances(two, one)
    return (there[0] + back[0]) / 2, max(there[1], back[1])


def _distances(source: trimesh.Trimesh, target: trimesh.Trimesh) -> tuple[float, float]:
    """Mean over the area of `source`, and greatest, distance to `target`."""
    weights = _POINTS if len(source.faces) < _FINE else _POINTS.mean(axis=0, keepdims=True)
    points = np.einsum("pk,fkj->fpj", weights, source.triangles).reshape(-1, 3)
    distance = nearest_on(points, target.vertices, target.faces).distance
    return float(np.average(distance, weights=np.repeat(source.area_faces, len(weights)))), float(distance.max())
