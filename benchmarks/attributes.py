"""What a judge says of pictures of miniature objects; what pixels say is in `dreamdist3d.mini.measures`."""

from typing import TYPE_CHECKING

from torch import Tensor

from dreamdist3d.mini.families import FAMILIES

if TYPE_CHECKING:
    from dreamdist3d.eval import MiniClip


def family_accuracy(pictures: Tensor, family: str, judge: "MiniClip") -> float:
    """Share of the pictures [N, 3, H, W] that the judge calls by their family's name, among all twenty."""
    return float(family_hits(pictures, family, judge).float().mean())


def family_hits(pictures: Tensor, family: str, judge: "MiniClip") -> Tensor:
    """Which of the pictures [N, 3, H, W] the judge calls by their family's name: bool [N]."""
    return named(judge.encode(pictures), family_texts(judge), family)


def family_texts(judge: "MiniClip") -> Tensor:
    """What the judge makes of every family's name: [F, D]."""
    return judge.encode_text([f"a{'n' if name[0] in 'aeiou' else ''} {name}" for name in FAMILIES])


def named(features: Tensor, texts: Tensor, family: str) -> Tensor:
    """Which of the judge's features [N, D] lie nearest to the family's name: bool [N]."""
    return (features @ texts.t()).argmax(dim=1) == list(FAMILIES).index(family)
