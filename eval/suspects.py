"""The flags of a set's assets: what a person should look at before a number is believed."""

from collections.abc import Sequence

import torch

from dreamdist3d.eval.fidelity.manifold import NEAREST
from dreamdist3d.eval.flags import empty_assets, foreground, janus_suspects, outside_manifold
from dreamdist3d.eval.load import LoadedSet
from dreamdist3d.eval.measure import Seen
from dreamdist3d.eval.renders import VIEW_NAMES

EMPTY, OUTSIDE, JANUS = "empty", "outside the references' manifold", "Janus suspect"


def find_suspects(loaded: LoadedSet, seen: Sequence[Seen]) -> list[list[str]]:
    """For each asset its flags, such as "outside the references' manifold (mini-DINO)".

    What cannot be told (too few references for a manifold, views without a front and a back) is not flagged. An
    empty asset carries no other flag.
    """
    flags: list[list[str]] = [[] for _ in loaded.entry.assets]
    empty = empty_assets(foreground(loaded.views)).tolist()
    for one in seen:
        for name, hits in _under(one, loaded.view_names):
            for asset in torch.nonzero(hits).flatten().tolist():
                flags[asset].append(f"{name} ({one.judge})")
    return [[EMPTY] if is_empty else found for is_empty, found in zip(empty, flags, strict=True)]


def _under(seen: Seen, view_names: tuple[str, ...]) -> list[tuple[str, torch.Tensor]]:
    found: list[tuple[str, torch.Tensor]] = []
    if seen.references is None:
        return found
    if len(seen.references) > NEAREST:
        found.append((OUTSIDE, outside_manifold(seen.features, seen.references)))
    if len(seen.references) >= 2 and (sides := _turned(view_names)):
        found.append((JANUS, janus_suspects(seen.features[:, sides], seen.references)))
    return found


def _turned(view_names: tuple[str, ...]) -> list[int] | None:
    """Where front, left, back and right are, if all four are there."""
    return [view_names.index(name) for name in VIEW_NAMES] if set(VIEW_NAMES) <= set(view_names) else None
