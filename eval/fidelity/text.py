"""Likeness to a sentence: higher is more faithful."""

import torch.nn.functional as F
from torch import Tensor


def text_similarity(
    features: Tensor,  # [A, V, D]
    text: Tensor,  # [D], by the same encoder
) -> Tensor:
    """Cosine similarity of each asset's views to one sentence, mean over the views: float64 [A] in [-1, 1].

    With CLIP features its mean over assets is CLIP-T (Ruiz et al., "DreamBooth", CVPR 2023, section 4.2).

    Raises:
        ValueError: nothing to compare, or features of different lengths.

    Example:
        >>> text_similarity(torch.eye(2)[None], torch.tensor([2.0, 0.0])).tolist()
        [0.5]
    """
    if not features.shape[0] or not features.shape[1]:
        raise ValueError("CLIP-T needs at least one asset and one view")
    if features.shape[-1] != text.shape[-1]:
        raise ValueError(f"pictures have {features.shape[-1]} numbers and the sentence {text.shape[-1]}")
    return (F.normalize(features.double(), dim=-1) @ F.normalize(text.double(), dim=-1)).mean(dim=1)
