"""How different the outlines of the assets are, whatever their colours."""

import torch
from torch import Tensor


def silhouette_distances(
    masks: Tensor,  # [A, V, H, W] bool
) -> Tensor:
    r"""Distance of every two assets' silhouettes, mean over V matched views: float64 [A, A] in [0, 1].

    .. math:: d(a, b) = 1 - \frac{1}{V} \sum_v \frac{|M_{av} \cap M_{bv}|}{|M_{av} \cup M_{bv}|}

    Two empty silhouettes are the same. The mean of the off-diagonal is the set's silhouette diversity.

    Raises:
        ValueError: not [A, V, H, W].

    Example:
        >>> masks = torch.tensor([[1, 1, 0, 0], [0, 1, 0, 0]], dtype=torch.bool).view(2, 1, 2, 2)
        >>> silhouette_distances(masks).tolist()
        [[0.0, 0.5], [0.5, 0.0]]
    """
    if masks.ndim != 4:
        raise ValueError(f"masks must be [A, V, H, W], not {list(masks.shape)}")
    flat = masks.flatten(2).transpose(0, 1).double()  # [V, A, H W]
    shared = flat @ flat.transpose(1, 2)
    area = flat.sum(dim=-1)
    union = area[:, :, None] + area[:, None, :] - shared
    overlap = torch.where(union > 0, shared / union.clamp_min(1.0), 1.0)
    return 1.0 - overlap.mean(dim=0)
