"""Measures with weights of their own, which are looked for only when they are asked for."""

from collections.abc import Sequence

import torch

from dreamdist3d.errors import UserError
from dreamdist3d.eval.diversity import lpips_distances
from dreamdist3d.eval.fidelity import fid, kid
from dreamdist3d.eval.load import LoadedSet, References
from dreamdist3d.eval.measure import SEED, Scores
from dreamdist3d.eval.statistics import Estimate, PairMean, jackknife_mean

EXTRAS = ("lpips", "inception")


def measure_extra(one: LoadedSet, targets: References | None, extras: Sequence[str], scores: Scores) -> None:
    """LPIPS diversity, FID and KID; a refusal (too few pictures, no weights) becomes a note.

    Raises:
        UserError: another name than those.
    """
    if unknown := [name for name in extras if name not in EXTRAS]:
        raise UserError(f"there is no measure {unknown[0]!r}: choose some of {', '.join(EXTRAS)}.")
    views = torch.from_numpy(one.views).movedim(-1, 2).float() / 255.0  # [A, V, 3, S, S]
    if "lpips" in extras and len(views) >= 2:
        scores.add("lpips", None, lambda: jackknife_mean(PairMean(lpips_distances(views)), lowest=0.0))
    if "inception" in extras and targets is not None:
        known = targets.images.pixels / 2.0 + 0.5
        scores.add("fid", None, lambda: Estimate(fid(known, views.flatten(0, 1))))
        scores.add("kid", None, lambda: Estimate(kid(known, views.flatten(0, 1), SEED).mean))
