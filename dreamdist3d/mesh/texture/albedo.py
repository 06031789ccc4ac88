"""The colour of every texel, anti-aliased."""

import numpy as np
from scipy.ndimage import maximum_filter, minimum_filter

from dreamdist3d.mesh.colors import linear_to_srgb, srgb_to_linear
from dreamdist3d.mesh.texture.dilate import dilate
from dreamdist3d.mesh.texture.layout import Layout
from dreamdist3d.mesh.texture.raster import Texels
from dreamdist3d.mesh.texture.sources import ColorFunction

_CONTRAST = 6.0 / 255.0  # where neighbours differ by more, one sample is too few


def bake_albedo(
    texels: Texels,
    points: np.ndarray,  # [N, 3], where the depicted surface is at the texels' centres
    normals: np.ndarray,  # [N, 3], unit, its own there
    layout: Layout,
    color_at: ColorFunction,
    supersample: int,
) -> np.ndarray:
    """sRGB uint8 [N, 3] for the texels.

    One sample each; where neighbours differ, supersample^2 of them are averaged in linear light.
    Samples past the border of a chart land on the surface beyond, so both sides of a seam agree.
    """

    def colors(rows: np.ndarray, offset: tuple[float, float]) -> np.ndarray:
        # Less than a texel away the surface is as good as flat.
        step = layout.steps(texels.where(rows), offset)
        across = step - normals[rows] * np.einsum("nj,nj->n", step, normals[rows])[:, None]
        return color_at(points[rows] + across, normals[rows])

    albedo = color_at(points, normals)
    if supersample > 1:
        rows = _uneven(albedo, texels, layout.size).nonzero()[0]
        grid = (np.arange(supersample) + 0.5) / supersample - 0.5
        albedo[rows] = linear_to_srgb(
            sum(srgb_to_linear(colors(rows, (x, y))) for x in grid for y in grid) / grid.size**2
        )
    return np.round(255.0 * albedo.clip(0.0, 1.0)).astype(np.uint8)


def _uneven(albedo: np.ndarray, texels: Texels, size: int) -> np.ndarray:
    """Which texels differ from their neighbours in the texture: bool [N]."""
    image = np.zeros((size * size, 3), dtype=np.float32)
    image[texels.index] = albedo
    image = dilate(image.reshape(size, size, 3), texels.mask(size))
    spread = maximum_filter(image, size=(3, 3, 1)) - minimum_filter(image, size=(3, 3, 1))
    return spread.max(axis=2).reshape(-1)[texels.index] > _CONTRAST
