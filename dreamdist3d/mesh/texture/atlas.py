"""Rectangles packed into a square."""

import numpy as np

from dreamdist3d.errors import UserError

_STEPS = 24


def pack(extents: np.ndarray, size: int, padding: int) -> tuple[np.ndarray, float]:
    """Place charts' bounding boxes on shelves inside a square of `size` texels, as large as they fit.

    Args:
        extents: [C, 2] widths and heights, in any unit.
        size: edge of the square.
        padding: texels between two charts; less when they do not fit otherwise.

    Returns:
        Lower corners [C, 2] in texels, and texels per unit, one scale for all charts.

    Raises:
        UserError: there are more charts than the square could hold at a texel each.
    """
    gap = padding
    while (found := _largest(extents, size, gap)) is None:
        if not gap:
            raise UserError(
                f"a texture of {size} x {size} is too small for {len(extents)} charts: "
                "choose a larger size or fewer triangles."
            )
        gap //= 2
    return found


def _largest(extents: np.ndarray, size: int, gap: int) -> tuple[np.ndarray, float] | None:
    """By bisection over the scale."""
    low, high, best = 0.0, size / max(float(extents.max()), 1e-12), None
    for _ in range(_STEPS):
        middle = (low + high) / 2
        corners = _shelves(np.ceil(extents * middle).clip(1) + gap, size, gap)
        if corners is None:
            high = middle
        else:
            low, best = middle, (corners, middle)
    return best


def _shelves(boxes: np.ndarray, size: int, gap: int) -> np.ndarray | None:
    """Lower corners of integer boxes (gap included), tallest first, row after row; None when they do not fit."""
    corners = np.zeros_like(boxes)
    x, y, shelf = float(gap), float(gap), 0.0
    for chart in np.argsort(-boxes[:, 1], kind="stable"):
        width, height = boxes[chart]
        if x + width > size:
            x, y, shelf = float(gap), y + shelf, 0.0
        if x + width > size or y + height > size:
            return None
        corners[chart] = x, y
        x, shelf = x + width, max(shelf, height)
    return corners
