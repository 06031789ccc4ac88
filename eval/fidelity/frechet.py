"""The Frechet distance between two sets of features of any encoder."""

import torch
from torch import Tensor

from dreamdist3d.errors import UserError


def frechet_distance(
    references: Tensor,  # [R, D]
    features: Tensor,  # [N, D]
) -> float:
    r"""Distance of the Gaussians fitted to two sets, 0 or more; on Inception's features alone it is called FID.

    .. math:: \lVert \mu_1 - \mu_2 \rVert^2 + \mathrm{tr}\left(\Sigma_1 + \Sigma_2 - 2 (\Sigma_1 \Sigma_2)^{1/2}\right)

    In a table it carries the encoder's name ("Frechet distance, DINO ViT-S/16"): values of different encoders do not
    compare. Source: Dowson and Landau, "The Fréchet distance between multivariate normal distributions", Journal of
    Multivariate Analysis 12 (1982).

    Raises:
        UserError: D or fewer references or pictures, whose covariance has no full rank.
        ValueError: features of different lengths.

    Example:
        >>> corners = torch.tensor([[0.0, 0.0], [2.0, 0.0], [0.0, 2.0], [2.0, 2.0]])
        >>> round(frechet_distance(corners, corners + torch.tensor([3.0, 4.0])), 6)
        25.0
    """
    if references.shape[1] != features.shape[1]:
        raise ValueError(f"references have {references.shape[1]} numbers and pictures {features.shape[1]}")
    fewest, width = min(len(references), len(features)), features.shape[1]
    if fewest <= width:
        raise UserError(
            f"no Frechet distance: {fewest} pictures of {width} numbers give a covariance without full rank, and the "
            f"distance would measure their number; it needs more than {width} pictures and as many references."
        )
    first, second = references.double(), features.double()
    shift = (first.mean(dim=0) - second.mean(dim=0)).square().sum()
    one, two = _root(first), _root(second)
    # With S = R'R of each, the trace of (S1 S2)^(1/2) is the sum of the singular values of R1 R2'.
    shared = torch.linalg.svdvals(one @ two.T).sum()
    return max(float(shift + one.square().sum() + two.square().sum() - 2.0 * shared), 0.0)


def _root(features: Tensor) -> Tensor:
    """R [D, D] with R'R the covariance of [N, D]: no covariance is formed, so no digits are lost to its square."""
    centred = (features - features.mean(dim=0)) / (len(features) - 1) ** 0.5
    return torch.linalg.qr(centred, mode="r").R
