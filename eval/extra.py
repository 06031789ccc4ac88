"""Measures with weights of their own, which are looked for only when they are asked for."""

from collections.abc import Sequence
from functools import cache

import torch
from torch import Tensor

from dreamdist3d.errors import UserError
from dreamdist3d.eval.diversity import inception_quality, inception_variance, lpips_distances
from dreamdist3d.eval.fidelity import fid, inception_answers, kid
from dreamdist3d.eval.load import LoadedSet, References
from dreamdist3d.eval.measure import SEED, Scores
from dreamdist3d.eval.statistics import AssetMean, Estimate, PairMean, jackknife, jackknife_mean

EXTRAS = ("lpips", "inception")


def measure_extra(one: LoadedSet, targets: References | None, extras: Sequence[str], scores: Scores) -> None:
    """LPIPS diversity, FID and KID, IQ and IV; a refusal (too few pictures, no weights) becomes a note.

    Raises:
        UserError: another name than those.
    """
    if unknown := [name for name in extras if name not in EXTRAS]:
        raise UserError(f"there is no measure {unknown[0]!r}: choose some of {', '.join(EXTRAS)}.")
    views = torch.from_numpy(one.views).movedim(-1, 2).float() / 255.0  # [A, V, 3, S, S]

    @cache
    def answers() -> Tensor:  # [A, V, C]
        return inception_answers(views.flatten(0, 1)).unflatten(0, views.shape[:2])

    if "lpips" in extras and len(views) >= 2:
        scores.add("lpips", None, lambda: jackknife_mean(PairMean(lpips_distances(views)), lowest=0.0))
    if "inception" in extras:
        scores.add("iq", None, lambda: _quality(answers()))
        if len(views) >= 2:
            scores.add("iv", None, lambda: _variance(answers()))
    if "inception" in extras and targets is not None:
        known = targets.images.pixels / 2.0 + 0.5
        scores.add("fid", None, lambda: Estimate(fid(known, views.flatten(0, 1))))
        scores.add("kid", None, lambda: Estimate(kid(known, views.flatten(0, 1), SEED).mean))


def _quality(answers: Tensor) -> Estimate:
    """IQ, a mean over assets, of [A, V, C]."""
    return jackknife_mean(AssetMean(torch.tensor([inception_quality(one) for one in answers])), lowest=0.0)


def _variance(answers: Tensor) -> Estimate:
    """IV over all pictures, with its interval over assets."""
    return jackknife(lambda index: inception_variance(answers[index].flatten(0, 1)), len(answers), 0.0)
