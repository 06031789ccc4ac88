"""The Gaussian at the text encoder's output (DreamDistribution, section 3.2), and what is made of several."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import get_args

import torch
from torch import Tensor

from dreamdist3d.choices import Covariance
from dreamdist3d.errors import UserError

COVARIANCES: tuple[str, ...] = get_args(Covariance)


def check_covariance(name: str) -> None:
    """Raise a UserError for anything but `low_rank` and `diagonal`."""
    if name not in COVARIANCES:
        raise UserError(f"the covariance {name!r} is unknown: it is one of {', '.join(COVARIANCES)}.")


@dataclass(frozen=True, eq=False)
class Moments:
    """Mean and deviation of encoded prompts (DreamDistribution, equation 4).

    A `low_rank` Gaussian has `directions`, whose outer products sum to its covariance; a `diagonal` one
    has none and uses `sigma` instead.
    """

    mu: Tensor  # [L, D]
    sigma: Tensor  # [L, D], with 1/K; zero for K = 1
    directions: Tensor | None  # [R, L, D]; of K prompts R = K: (h_k - mu) / sqrt(K - 1)
    end: int | None = None  # position of the end-of-text mark; None: unknown
    farthest: Tensor | None = None  # scalar: no draw of a `low_rank` Gaussian lies farther from mu; None: any may
    references: Tensor | None = None  # [T, D], which every prompt carries behind its words

    @classmethod
    def of(
        cls,
        hidden: Tensor,  # [K, L, D]
        covariance: Covariance,
        end: int | None = None,
        limit: float | None = None,
    ) -> "Moments":
        """Moments of hidden states, in single precision at least; differentiable.

        Args:
            limit: of a draw's distance from the mean, in the prompts' median distance; None: none.
        """
        hidden = hidden.to(torch.promote_types(hidden.dtype, torch.float32))
        mu = hidden.mean(0)
        directions = (hidden - mu) / math.sqrt(max(1, len(hidden) - 1)) if covariance == "low_rank" else None
        farthest = None if limit is None else limit * (hidden - mu).detach().flatten(1).norm(dim=1).median()
        # `std` has gradient 0 where all prompts agree (the begin mark, the prefix); sqrt(var) has NaN there.
        return cls(mu, hidden.std(0, correction=0), directions, end, farthest)

    @property
    def covariance(self) -> Covariance:
        """The kind of Gaussian."""
        return "diagonal" if self.directions is None else "low_rank"

    @property
    def omega_shape(self) -> tuple[int, ...]:
        """Of one draw's standard normal numbers: (R,) for low_rank, (L, D) for diagonal."""
        return tuple(self.mu.shape) if self.directions is None else (len(self.directions),)

    def embed(
        self,
        omega: Tensor,  # [..., R] for low_rank, [..., L, D] for diagonal
        gamma: float = 1.0,
    ) -> Tensor:
        """The prompts [..., L, D] that standard normal `omega` stands for; [..., L + T, D] with references.

        low_rank: mu + gamma sum_k omega_k (h_k - mu) / sqrt(K - 1), the sum scaled down to the length `farthest`
        where it is longer (the scale counts as a constant in gradients); diagonal: mu + gamma omega sigma. With K = 1
        both are mu: textual inversion.
        """
        omega = omega.to(self.mu)
        if self.directions is None:
            return with_references(self.mu + gamma * omega * self.sigma, self.references)
        deviation = gamma * torch.einsum("...r,rld->...ld", omega, self.directions)
        if self.farthest is not None:
            length = deviation.detach().flatten(-2).norm(dim=-1)[..., None, None]
            deviation = deviation * torch.where(length > self.farthest, self.farthest / length, 1.0)
        return with_references(self.mu + deviation, self.references)

    def scaled(self, gamma: float) -> "Moments":
        """The same mean, with gamma times the deviation."""
        directions = None if self.directions is None else gamma * self.directions
        return Moments(self.mu, gamma * self.sigma, directions, self.end, self.farthest, self.references)


def blend(components: Sequence[Moments], weights: Sequence[float], gammas: Sequence[float]) -> Moments:
    """The Gaussian of the weighted sum of independent draws (DreamDistribution, section 3.4).

    Mean sum w_i mu_i, covariance sum (w_i gamma_i)^2 C_i. Its `low_rank` directions are those of the
    components side by side; where all components have a farthest distance d_i, its own is sqrt(sum (w_i d_i)^2), as
    lengths of independent draws add.

    Raises:
        UserError: the components are of different kinds.
    """
    covariance = common_covariance([moments.covariance for moments in components])
    shares = [weight * gamma for weight, gamma in zip(weights, gammas, strict=True)]
    mu = reduce(torch.add, [weight * m.mu for weight, m in zip(weights, components, strict=True)])
    variance = reduce(torch.add, [(share * m.sigma).square() for share, m in zip(shares, components, strict=True)])
    directions = None
    if covariance == "low_rank":
        parts = zip(shares, components, strict=True)
        directions = torch.cat([share * m.directions for share, m in parts if m.directions is not None])
    ends = [moments.end for moments in components if moments.end is not None]
    end = max(ends) if len(ends) == len(components) else None
    return Moments(mu, variance.sqrt(), directions, end, _farthest(components, weights))


def _farthest(components: Sequence[Moments], weights: Sequence[float]) -> Tensor | None:
    distances = [moments.farthest for moments in components if moments.farthest is not None]
    if len(distances) < len(components):
        return None
    return torch.stack([weight * distance for weight, distance in zip(weights, distances, strict=True)]).norm()


def common_covariance(covariances: Sequence[Covariance]) -> Covariance:
    """The one kind of all components of a blend.

    Raises:
        UserError: they are of different kinds.
    """
    if len(set(covariances)) > 1:
        raise UserError("low_rank and diagonal distributions do not blend: use the kind `mixture`, or learn one again.")
    return covariances[0]


def omega_shape(
    covariance: Covariance,
    shape: Sequence[int],  # K, L, D
) -> tuple[int, ...]:
    """(K,) for low_rank, (L, D) for diagonal."""
    return tuple(shape[:1]) if covariance == "low_rank" else tuple(shape[1:])


def with_references(
    text: Tensor,  # [..., L, D]
    references: Tensor | None,  # [T, D]
) -> Tensor:
    """Prompts [..., L + T, D] with references behind their words."""
    if references is None:
        return text
    behind = references.to(text).expand(*text.shape[:-2], *references.shape)
    return torch.cat([text, behind], dim=-2)
