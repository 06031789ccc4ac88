"""How differently bulky the assets are."""

from collections.abc import Sequence

import numpy as np
import trimesh

from dreamdist3d.eval.diversity.extent import framed_vertices


def volumes(meshes: Sequence[trimesh.Trimesh]) -> np.ndarray:
    """Volume of each mesh as a share of its bounding sphere's: [A], nan for a mesh that is not closed.

    Vertices in one place are taken as one first, so that the seams of a texture are no holes.

    Raises:
        ValueError: a mesh whose vertices lie in one point.

    Example:
        >>> ball, hole = trimesh.creation.icosphere(subdivisions=5), trimesh.creation.icosphere()
        >>> hole.update_faces(np.arange(len(hole.faces)) > 0)
        >>> volumes([ball, hole]).round(2).tolist()
        [1.0, nan]
    """
    return np.array([_volume(mesh) for mesh in meshes])


def volume_spread(
    volumes: np.ndarray,  # [A]
) -> float:
    """Standard deviation of the closed meshes' volumes over their mean (coefficient of variation), 0 or more.

    Raises:
        ValueError: fewer than two closed meshes.

    Example:
        >>> volume_spread(np.array([1.0, 3.0, float("nan")])) == 2**0.5 / 2
        True
    """
    closed = volumes[np.isfinite(volumes)]
    if len(closed) < 2:
        raise ValueError("a spread of volumes needs at least two closed meshes")
    return float(closed.std(ddof=1) / closed.mean())


def _volume(mesh: trimesh.Trimesh) -> float:
    welded = trimesh.Trimesh(framed_vertices(mesh), mesh.faces, process=False)
    welded.merge_vertices(merge_tex=True, merge_norm=True)
    return abs(float(welded.volume)) / (4.0 / 3.0 * np.pi) if welded.is_watertight else float("nan")
