"""Fewer triangles, still closed."""

import fast_simplification
import trimesh

from dreamdist3d.mesh.repair import repair

_GENTLE_TO_GREEDY = (5.0, 7.0)


def simplify(mesh: trimesh.Trimesh, max_triangles: int) -> trimesh.Trimesh:
    """Quadric edge collapse down to about `max_triangles`; unchanged when it has no more than that.

    A result that is no longer watertight is given back only when no setting keeps it closed.
    """
    if len(mesh.faces) <= max_triangles:
        return mesh
    result = mesh
    for aggressiveness in _GENTLE_TO_GREEDY:
        vertices, faces = fast_simplification.simplify(
            mesh.vertices, mesh.faces, target_count=max_triangles, agg=aggressiveness
        )
        result = repair(trimesh.Trimesh(vertices, faces, process=False))
        if result.is_watertight and len(result.faces) <= max_triangles:
            break
    return result
