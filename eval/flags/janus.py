"""Assets that may have two faces: their back looks like their front (the Janus problem)."""

import torch
from torch import Tensor

from dreamdist3d.eval.diversity.similarity import unit_vectors

_FRONT, _BACK, _SIDES = 0, 2, (1, 3)  # in the order of `VIEW_NAMES`
_MARGIN = 0.05


def front_back_similarity(
    features: Tensor,  # [A, 4, D] of front, left, back, right
) -> Tensor:
    """Cosine similarity of each asset's front to its back: float64 [A] in [-1, 1].

    Example:
        >>> front_back_similarity(torch.eye(4)[None]).tolist()
        [0.0]
    """
    unit = _views(features)
    return (unit[:, _FRONT] * unit[:, _BACK]).sum(dim=-1)


def janus_suspects(
    features: Tensor,  # [A, 4, D] of front, left, back, right
    references: Tensor,  # [R, D]
) -> Tensor:
    """Assets for a person to look at: bool [A].

    A suspect's front and back are more alike than nine in ten pairs of references are, so that the likeness is none
    that the references have among themselves; and more alike, by 0.05, than they are to its sides, so that it is
    none of a thing that looks the same all round, as a ball or a vase does.

    Raises:
        ValueError: not four views, or fewer than two references.

    Example:
        >>> face, side = torch.tensor([1.0, 0.0, 0.0]), torch.tensor([0.0, 1.0, 0.0])
        >>> two_faced, ball = torch.stack([face, side, face, side]), torch.stack([face] * 4)
        >>> janus_suspects(torch.stack([two_faced, ball]), torch.eye(3)).tolist()
        [True, False]
    """
    if len(references) < 2:
        raise ValueError("Janus suspects need at least two references")
    unit, known = _views(features), unit_vectors(references)
    rows, columns = torch.triu_indices(len(known), len(known), offset=1)
    usual = torch.quantile((known[rows] * known[columns]).sum(dim=-1), 0.9)
    across = torch.stack([(unit[:, end] * unit[:, side]).sum(-1) for end in (_FRONT, _BACK) for side in _SIDES])
    likeness = front_back_similarity(features)
    return (likeness > usual) & (likeness > across.amax(dim=0) + _MARGIN)


def _views(features: Tensor) -> Tensor:
    if features.ndim != 3 or features.shape[1] != 4:
        raise ValueError(f"front and back are known of four views, [A, 4, D], not of {list(features.shape)}")
    return unit_vectors(features.flatten(0, 1)).view(features.shape)
