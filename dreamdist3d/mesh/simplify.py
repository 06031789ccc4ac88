"""Fewer triangles, still closed."""

import fast_simplification
import numpy as np
import trimesh

from dreamdist3d.mesh.repair import as_manifold, repair

_GENTLE_TO_GREEDY = (5.0, 7.0)
_LOST_VOLUME = 0.1  # of a closed mesh; more means that parts have vanished
_FINEST, _STEPS = 1e-6, 50  # tolerances tried, relative to the extent: up to 0.056


def simplify(mesh: trimesh.Trimesh, max_triangles: int) -> trimesh.Trimesh:
    """Quadric edge collapse down to about `max_triangles`; unchanged when it has no more than that.

    A closed mesh whose parts would break or vanish within the budget gets twice the triangles, and so on: a result
    that is no longer watertight is given back only of a mesh that is not either.
    """
    target = max_triangles
    while target < len(mesh.faces):
        result = _reduced(mesh, target)
        if not mesh.is_watertight or (result.is_watertight and _keeps_volume(result, mesh)):
            return result
        target *= 2
    return mesh


def _reduced(mesh: trimesh.Trimesh, max_triangles: int) -> trimesh.Trimesh:
    result = mesh
    for aggressiveness in _GENTLE_TO_GREEDY:
        vertices, faces = fast_simplification.simplify(
            mesh.vertices, mesh.faces, target_count=max_triangles, agg=aggressiveness
        )
        result = repair(trimesh.Trimesh(vertices, faces, process=False))
        if result.is_watertight and len(result.faces) <= max_triangles:
            return result
    return _within_tolerance(result, max_triangles) if result.is_watertight else result


def _keeps_volume(result: trimesh.Trimesh, mesh: trimesh.Trimesh) -> bool:
    return bool(abs(result.volume - mesh.volume) <= _LOST_VOLUME * abs(mesh.volume))


def _within_tolerance(mesh: trimesh.Trimesh, max_triangles: int) -> trimesh.Trimesh:
    """By manifold3d, with the least tolerance, in steps of a quarter, that reaches the budget; unchanged if none does.

    For closed meshes of slivers, as fine cylinders are: fast_simplification 0.2 turns those away, because every
    collapse beside one would leave an angle that it thinks folded.
    """
    solid = as_manifold(mesh.vertices.view(np.ndarray), mesh.faces.view(np.ndarray))
    if solid is None:
        return mesh
    for step in range(_STEPS):
        simple = solid.simplify(float(mesh.extents.max()) * _FINEST * 1.25**step)
        if simple.num_tri() <= max_triangles and not simple.is_empty():
            found = simple.to_mesh64()
            return repair(trimesh.Trimesh(found.vert_properties[:, :3].copy(), found.tri_verts.copy(), process=False))
    return mesh
