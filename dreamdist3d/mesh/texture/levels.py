"""Levels of detail that share one texture."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from dreamdist3d.mesh.texture.collapse import Collapser
from dreamdist3d.mesh.texture.textured import TexturedMesh

_SHORT_OF = 1.1  # a level with this many times the triangles asked for is worth a warning


def simplified_levels(textured: TexturedMesh, ratios: Sequence[float]) -> tuple[TexturedMesh, ...]:
    """LOD1 and on: the same mesh with fewer triangles, for the same maps.

    Vertices are some of the original's, with their normals and texture coordinates, so nothing slides
    on the texture; seams thin out on both sides alike, so what was closed stays closed.

    Args:
        textured: LOD0.
        ratios: triangles of each level relative to LOD0, falling, each in (0, 1).

    Returns:
        One mesh for each ratio; one that could not go as low says so in its warnings.

    Raises:
        ValueError: the ratios are not falling, or outside (0, 1).
    """
    if any(not 0 < ratio < 1 for ratio in ratios) or list(ratios) != sorted(set(ratios), reverse=True):
        raise ValueError(f"ratios must fall from below 1 to above 0, not {list(ratios)}")
    collapser, levels = Collapser(textured.vertices, textured.faces, textured.uv), []
    for ratio in ratios:
        target = int(ratio * len(textured.faces))
        collapser.reduce(target)
        levels.append(_level(textured, collapser.faces, target))
    return tuple(levels)


def _level(textured: TexturedMesh, faces: np.ndarray, target: int) -> TexturedMesh:
    used, renumbered = np.unique(faces, return_inverse=True)
    warnings: tuple[str, ...] = ()
    if len(faces) > _SHORT_OF * target:
        warnings = (f"a level has {len(faces)} triangles instead of {target}: the borders of charts allow no fewer.",)
    return replace(
        textured,
        vertices=textured.vertices[used],
        faces=renumbered.reshape(-1, 3),
        normals=textured.normals[used],
        uv=textured.uv[used],
        warnings=warnings,
    )
