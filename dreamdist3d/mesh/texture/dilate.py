"""Colours past the borders of charts."""

import numpy as np
from scipy.ndimage import distance_transform_edt


def dilate(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Give every texel outside `mask` [T, T] the value of the nearest one inside; image is [T, T] or [T, T, C].

    The whole gap is filled, not a rim of it: every mip level then mixes a chart's border with its own
    colours as long as the charts are apart at that level.
    """
    if not mask.any():
        return image
    rows, columns = distance_transform_edt(~mask, return_distances=False, return_indices=True)
    return image[rows, columns]
