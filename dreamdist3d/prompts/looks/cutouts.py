"""An object off its plain background: the transparent squares that picture-to-3D tools take."""

from dataclasses import dataclass

import numpy as np
from PIL import Image
from scipy import ndimage

from dreamdist3d.errors import UserError

MARGIN = 0.1  # of the square, on the side where the object comes nearest to its edge
_UNLIKE = 0.10  # farthest channel from the background, of 1
_NOISE = 4.0  # times the background's own unevenness
_PLAIN = 0.6  # share of the border that must be background; an object may touch the rest
_LEAST, _PART, _HOLE = 0.005, 0.05, 0.005  # of the picture; of the largest part; of the object
_BORDER = 32  # the border is a 32nd of the picture wide
_FITS, _CLOSE = 6, 2.5
_SOFT = 0.7  # pixels
_EDGE = 256  # pixels of a picture whose edges are twice as wide as the sharpest ones
_TOUCHES = 0.02  # of the picture's edge


class NotPlain(UserError):
    """An object that cannot be told from its background."""


@dataclass(frozen=True, eq=False)
class Cutout:
    """An object cut out of a picture.

    Args:
        image: RGBA, square, the object in its middle.
        is_whole: whether the picture holds all of it, as far as its edges tell.
    """

    image: Image.Image
    is_whole: bool


def cut_out(picture: np.ndarray, size: int) -> Cutout:
    """Cut the object out of a picture [H, W, 3] in [0, 1], into a square of `size` pixels.

    The background is a smooth surface of colour fitted to the picture's border, robustly, so that it may be shaded and
    the object may touch it. What differs from it is the object; openings through which it is seen stay open. Colours at
    the object's edge, which the background has mixed into, are those of the object beside them.

    Raises:
        NotPlain: the border is not of one such colour, or nothing stands out from it.
    """
    distance, tolerance = _from_background(picture)
    mask = _object(distance > tolerance, distance, tolerance)
    if mask.mean() < _LEAST:
        raise NotPlain("nothing stands out from its background.")
    alpha = np.where(ndimage.binary_erosion(mask), 1.0, ndimage.gaussian_filter(mask.astype(float), _SOFT))
    rgba = np.concatenate([_clean_edges(picture, mask), alpha[..., None]], axis=-1)
    edge = np.concatenate([mask[0], mask[-1], mask[:, 0], mask[:, -1]])
    return Cutout(_square(rgba, mask, size), bool(edge.mean() < _TOUCHES))


def _from_background(picture: np.ndarray) -> tuple[np.ndarray, float]:
    """How far each pixel is from the background [H, W], and what is still background."""
    height, width, _ = picture.shape
    y, x = np.meshgrid(np.linspace(-1, 1, height), np.linspace(-1, 1, width), indexing="ij")
    basis = np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], axis=-1)
    thick = max(2, min(height, width) // _BORDER)
    border = np.ones((height, width), bool)
    border[thick:-thick, thick:-thick] = False
    known, colors = basis[border], picture[border]
    # From the middle colour, not from a fit to all: an object that touches the border would bend it.
    apart = np.abs(colors - np.median(colors, axis=0)).max(axis=1)
    surface = np.zeros((basis.shape[-1], 3))
    for _ in range(_FITS):
        near = apart <= max(_UNLIKE, _CLOSE * float(np.median(apart)))
        surface = np.linalg.lstsq(known[near], colors[near], rcond=None)[0]
        apart = np.abs(colors - known @ surface).max(axis=1)
    if (apart <= _UNLIKE).mean() < _PLAIN:
        raise NotPlain("its background is not plain.")
    noise = float(np.median(apart[apart <= _UNLIKE]))
    return np.abs(picture - basis @ surface).max(axis=2), max(_UNLIKE, _NOISE * noise)


def _object(unlike: np.ndarray, distance: np.ndarray, tolerance: float) -> np.ndarray:
    """Without specks, and closed but for openings through which the background is seen."""
    parts, count = ndimage.label(ndimage.binary_closing(np.pad(unlike, 2))[2:-2, 2:-2] | unlike)
    if not count:
        return np.zeros_like(unlike)
    sizes = np.bincount(parts.ravel())[1:]
    mask = np.isin(parts, 1 + np.flatnonzero(sizes >= _PART * sizes.max()))
    holes, count = ndimage.label(ndimage.binary_fill_holes(mask) & ~mask)
    for number in range(1, count + 1):
        hole = holes == number
        if hole.sum() < _HOLE * mask.sum() or distance[hole].mean() > tolerance / 2:
            mask = mask | hole
    return mask


def _clean_edges(picture: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Every pixel that is not well inside the object has the colour of the nearest one that is."""
    wide = 1 + min(mask.shape) // _EDGE
    inside = ndimage.binary_erosion(mask, iterations=wide)
    if not inside.any():
        return picture
    # Thin parts have no inside; theirs are the pixels farther from it than an edge is wide.
    inside |= mask & (ndimage.distance_transform_edt(~inside) > wide + 2)
    nearest = ndimage.distance_transform_edt(~inside, return_distances=False, return_indices=True)
    return picture[tuple(nearest)]


def _square(rgba: np.ndarray, mask: np.ndarray, size: int) -> Image.Image:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    top, bottom, left, right = rows[0] - 1, rows[-1] + 2, columns[0] - 1, columns[-1] + 2
    side = max(bottom - top, right - left) / (1 - 2 * MARGIN)
    x, y = (left + right - side) / 2, (top + bottom - side) / 2
    # With colours times opacity, so that nothing of what is transparent is mixed in. A square larger than the picture
    # reaches into the transparency around it.
    image = Image.fromarray((rgba.clip(0, 1) * 255).round().astype(np.uint8), "RGBA").convert("RGBa")
    width, height = image.size
    around = Image.new("RGBa", (3 * width, 3 * height))
    around.paste(image, (width, height))
    # Without the ringing of sharper filters: tools take every trace of opacity for the object.
    box = (width + x, height + y, width + x + side, height + y + side)
    return around.resize((size, size), Image.Resampling.HAMMING, box=box).convert("RGBA")
