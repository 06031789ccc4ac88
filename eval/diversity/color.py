"""How many colours a set of assets shows, and how many of them tell its assets apart."""

import math

import numpy as np
import torch
from torch import Tensor

HUES = 24
BINS = HUES + 1  # the last holds black, white and gray, which have no hue
_GRAY = 0.15  # largest less smallest channel, of 1, under which a colour reads as gray


def hue_histograms(
    views: np.ndarray,  # uint8 [A, V, H, W, 3] sRGB
    masks: np.ndarray,  # bool [A, V, H, W], what belongs to the asset
) -> Tensor:
    """Share of each asset's pixels in 24 bins of hue and one for what has no hue: float64 [A, 25].

    Bins are centred on red, its neighbours every 15 degrees. The row of an asset without pixels is zero.

    Example:
        >>> red = np.full((1, 1, 2, 2, 3), (255, 0, 0), dtype=np.uint8)
        >>> hue_histograms(red, np.ones((1, 1, 2, 2), dtype=bool))[0, 0].item()
        1.0
    """
    rows = [np.bincount(_bins(pictures[mask]), minlength=BINS) for pictures, mask in zip(views, masks, strict=True)]
    counts = torch.from_numpy(np.stack(rows)).double()
    return counts / counts.sum(dim=1, keepdim=True).clamp_min(1.0)


def hue_entropy(
    histograms: Tensor,  # [A, 25]
) -> float:
    r"""Entropy in bits of the set's colours, each asset counting alike: in [0, log2 25].

    .. math:: H(\bar p) = -\sum_i \bar p_i \log_2 \bar p_i, \quad \bar p = \frac{1}{A} \sum_a p_a

    Raises:
        ValueError: no asset shows a pixel.

    Example:
        >>> round(hue_entropy(torch.eye(25)[:4]), 6)
        2.0
    """
    return _entropy(_seen(histograms).mean(dim=0))


def hue_divergence(
    histograms: Tensor,  # [A, 25]
) -> float:
    r"""The part of the entropy that tells assets apart, in bits (generalised Jensen-Shannon divergence).

    .. math:: H(\bar p) - \frac{1}{A} \sum_a H(p_a) \in [0, \log_2 A]

    A set of copies of one rainbow has a high entropy and a divergence of 0. Source: Lin, "Divergence measures based
    on the Shannon entropy", IEEE Transactions on Information Theory 37 (1991), equation 5.1.

    Raises:
        ValueError: no asset shows a pixel.

    Example:
        >>> different, rainbows = torch.eye(25)[:4], torch.full((4, 25), 1 / 25)
        >>> round(hue_divergence(different), 6), round(hue_divergence(rainbows), 6)
        (2.0, 0.0)
    """
    seen = _seen(histograms)
    inner = sum(_entropy(row) for row in seen) / len(seen)
    return max(hue_entropy(histograms) - inner, 0.0)


def _seen(histograms: Tensor) -> Tensor:
    seen = histograms[histograms.sum(dim=1) > 0].double()
    if not len(seen):
        raise ValueError("colour diversity needs an asset that shows a pixel")
    return seen


def _entropy(shares: Tensor) -> float:
    return float(torch.special.entr(shares).sum()) / math.log(2.0)


def _bins(pixels: np.ndarray) -> np.ndarray:
    """The bin of each of [N, 3] uint8 pixels."""
    red, green, blue = pixels.T / 255.0
    high, low = pixels.max(axis=1, initial=0) / 255.0, pixels.min(axis=1, initial=255) / 255.0
    chroma = high - low
    # The hue hexagon: sectors of 60 degrees around red, green and blue.
    with np.errstate(divide="ignore", invalid="ignore"):
        sector = np.select(
            [high == red, high == green],
            [(green - blue) / chroma, 2.0 + (blue - red) / chroma],
            4.0 + (red - green) / chroma,
        )
    hue = np.where(chroma > 0, sector, 0.0) * (HUES / 6.0)
    return np.where(chroma < _GRAY, HUES, np.round(hue).astype(np.int64) % HUES)
