"""The Vendi score: how many different assets a set amounts to."""

import torch
from torch import Tensor


def vendi_score(
    similarity: Tensor,  # [A, A]
) -> float:
    r"""Exponential of the entropy of a similarity matrix's eigenvalues, in [1, A].

    .. math:: \mathrm{VS} = \exp\left(-\sum_i \lambda_i \log \lambda_i\right),
              \quad \lambda_i \text{ the eigenvalues of } K / A

    1 where all assets are the same, A where all similarities are 0. `similarity_matrix` of matched views gives a
    valid K. Source: Friedman and Dieng, "The Vendi Score", TMLR 2023, equation 2.

    Raises:
        ValueError: not a symmetric matrix with ones on its diagonal and no negative eigenvalue.

    Example:
        >>> round(vendi_score(torch.eye(4)), 6), round(vendi_score(torch.ones(4, 4)), 6)
        (4.0, 1.0)
    """
    kernel = similarity.double()
    if kernel.ndim != 2 or kernel.shape[0] != kernel.shape[1] or not torch.allclose(kernel, kernel.T, atol=1e-6):
        raise ValueError("the Vendi score wants a symmetric [A, A] matrix")
    if not torch.allclose(kernel.diagonal(), torch.ones(len(kernel), dtype=torch.float64), atol=1e-6):
        raise ValueError("the Vendi score wants similarities of 1 on the diagonal")
    eigenvalues = torch.linalg.eigvalsh(kernel) / len(kernel)
    if float(eigenvalues.min()) < -1e-6:
        raise ValueError("the Vendi score wants a matrix without negative eigenvalues")
    return float(torch.special.entr(eigenvalues.clamp_min(0.0)).sum().exp())
