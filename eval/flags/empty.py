"""Assets of which there is nothing to see."""

import numpy as np

LEAST = 0.002  # of a view; in a framed view a thin rod still covers more


def foreground(
    views: np.ndarray,  # uint8 [..., H, W, 3]
) -> np.ndarray:
    """Pixels unlike the plain background, which is the median colour of a picture's border: bool [..., H, W].

    For pictures that come without transparency; where it is known, the share that the asset covers is better.

    Example:
        >>> picture = np.full((4, 4, 3), 255, dtype=np.uint8)
        >>> picture[1:3, 1:3] = 0
        >>> int(foreground(picture).sum())
        4
    """
    border = np.concatenate([views[..., 0, :, :], views[..., -1, :, :], views[..., :, 0, :], views[..., :, -1, :]], -2)
    background = np.median(border, axis=-2)[..., None, None, :]
    return np.abs(views - background).max(axis=-1) > 25.5


def empty_assets(
    masks: np.ndarray,  # bool [A, V, H, W], what belongs to the asset
) -> np.ndarray:
    """Assets that cover less than 0.2 % of every view: bool [A].

    Example:
        >>> empty_assets(np.stack([np.zeros((4, 8, 8), bool), np.ones((4, 8, 8), bool)])).tolist()
        [True, False]
    """
    return masks.mean(axis=(2, 3)).max(axis=1) < LEAST
