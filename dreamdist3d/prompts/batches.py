"""Several draws at once: independent, in antithetic pairs, or spread far apart."""

from collections.abc import Iterator, Sequence
from typing import Any, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from dreamdist3d.choices import Batching
from dreamdist3d.errors import UserError
from dreamdist3d.prompts.draw import PromptDraw
from dreamdist3d.prompts.encoder import SoftPromptEncoder
from dreamdist3d.prompts.moments import Moments
from dreamdist3d.prompts.source import PromptSource

BATCHINGS: tuple[str, ...] = get_args(Batching)
CANDIDATES = 8  # draws that `spread` looks at for each one it keeps


def draw_batch(
    source: PromptSource,
    count: int,
    seed: int = 0,
    how: Batching = "independent",
    encoder: SoftPromptEncoder | None = None,
    **values: Any,  # gamma, prefix, suffix
) -> list[PromptDraw]:
    """`count` different draws of the seeds from `seed` on, so that each can be drawn again alone.

    independent: seed, seed + 1, ... antithetic: each followed by its twin -omega, so that the batch's mean
    is the distribution's. spread: of 8 times as many independent draws those that lie farthest apart at the
    direction of the text encoder's pooled (end-of-text) feature.

    Args:
        encoder: of the distribution's backbone; only `spread` needs it.

    Raises:
        UserError: an unknown `how`, seeds beyond 2^32-1, or a draw that cannot be made.
        ValueError: `spread` without an encoder.
    """
    if how == "independent":
        return [source.draw(seed + i, **values) for i in range(count)]
    if how == "antithetic":
        return [source.draw(seed + i // 2, antithetic=bool(i % 2), **values) for i in range(count)]
    if how != "spread":
        raise UserError(f"the batch {how!r} is unknown: it is one of {', '.join(BATCHINGS)}.")
    if encoder is None:
        raise ValueError("spread compares encoded draws: give the encoder")
    candidates = [source.draw(seed + i, **values) for i in range(CANDIDATES * count)]
    return [candidates[i] for i in farthest(pooled_features(source, candidates, encoder), count)]


@torch.no_grad()
def embed_draws(source: PromptSource, draws: Sequence[PromptDraw], encoder: SoftPromptEncoder) -> Tensor:
    """[N, L, D]: the drawn prompts, those that share a Gaussian from one encoding of it.

    Raises:
        UserError: as `PromptSource.embed`.
    """
    return torch.stack([draw.embed(moments) for draw, moments in _with_moments(source, draws, encoder)])


@torch.no_grad()
def pooled_features(source: PromptSource, draws: Sequence[PromptDraw], encoder: SoftPromptEncoder) -> Tensor:
    """What `spread` compares, [N, ...]: each drawn prompt at its end-of-text mark, which sums its words up.

    Moments alone do not tell where that mark is: there the whole prompt stands for it, flattened to [N, L D].
    """
    return torch.stack(
        [
            draw.embed(moments).flatten() if moments.end is None else draw.embed(moments)[moments.end]
            for draw, moments in _with_moments(source, draws, encoder)
        ]
    )


def _with_moments(
    source: PromptSource, draws: Sequence[PromptDraw], encoder: SoftPromptEncoder
) -> Iterator[tuple[PromptDraw, Moments]]:
    known: dict[tuple, Moments] = {}
    for draw in draws:
        # Encoding costs far more than drawing, and most draws share their Gaussian.
        key = (draw.component, draw.prefix, draw.suffix, draw.weights)
        if key not in known:
            known[key] = source.moments_for(draw, encoder)
        yield draw, known[key]


def farthest(
    features: Tensor,  # [M, D]
    count: int,
) -> list[int]:
    """`count` of M rows, in their order, that keep far apart: greedy max-min distance of directions, then exchanges.

    Directions, because far-out draws are the longest and the least like the family. Greedy choice comes within a
    factor of two of the best smallest distance (Gonzalez 1985). Exchanging a row of the closest pair for an unused
    one goes on from there, as long as the smallest distance grows.
    """
    unit = F.normalize(features.double(), dim=-1)
    # Exact, where the matrix product would lose the distance of close rows to rounding.
    distances = torch.cdist(unit, unit, compute_mode="donot_use_mm_for_euclid_dist").fill_diagonal_(torch.inf)
    chosen = _greedy(distances, count)
    while (better := _exchanged(distances, chosen)) is not None:
        chosen = better
    return sorted(chosen)


def _greedy(distances: Tensor, count: int) -> list[int]:
    """Begin with the farthest pair, then always take the row farthest from those taken."""
    finite = distances.masked_fill(distances.isinf(), -1.0)
    first = int(finite.max(1).values.argmax())
    chosen, nearest = [first], distances[first].clone()
    nearest[first] = -torch.inf
    while len(chosen) < count:
        chosen.append(int(nearest.argmax()))
        nearest = torch.minimum(nearest, distances[chosen[-1]])
        nearest[chosen[-1]] = -torch.inf
    return chosen


def _exchanged(distances: Tensor, chosen: list[int]) -> list[int] | None:
    """`chosen` with one row of its closest pair replaced, or None when nothing is gained."""
    among = distances[chosen][:, chosen]
    smallest = among.min()
    for leaving in divmod(int(among.argmin()), len(chosen)):
        staying = [row for place, row in enumerate(chosen) if place != leaving]
        if len(staying) < 2 or distances[staying][:, staying].min() <= smallest:
            continue
        nearest = distances[staying].amin(0)
        nearest[chosen] = -torch.inf
        if nearest.max() > smallest:
            return [*staying, int(nearest.argmax())]
    return None
