"""The Gaussian at the text encoder's output, and one draw from it."""

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from dreamdist3d.errors import UserError

Covariance = Literal["low_rank", "diagonal"]
COVARIANCES: tuple[str, ...] = get_args(Covariance)
# torch's CPU generator reads 32 bits of a seed: two longer ones may be the same draw.
SEED_LIMIT = 2**32


def check_covariance(name: str) -> None:
    """Raise a UserError for anything but `low_rank` and `diagonal`."""
    if name not in COVARIANCES:
        raise UserError(f"the covariance {name!r} is unknown: it is one of {', '.join(COVARIANCES)}.")


@dataclass(frozen=True, eq=False)
class Moments:
    """Mean and deviation of K encoded prompts (DreamDistribution, equation 4), with the prompts themselves."""

    hidden: Tensor  # [K, L, D]
    mu: Tensor  # [L, D]
    sigma: Tensor  # [L, D], with 1/K; zero for K = 1
    covariance: Covariance

    @classmethod
    def of(cls, hidden: Tensor, covariance: Covariance) -> "Moments":
        """Moments of [K, L, D] hidden states, in single precision at least."""
        hidden = hidden.to(torch.promote_types(hidden.dtype, torch.float32))
        # `std` has gradient 0 where all prompts agree (the begin mark, the prefix); sqrt(var) has NaN there.
        return cls(hidden, hidden.mean(0), hidden.std(0, correction=0), covariance)

    def embed(
        self,
        omega: Tensor,  # [..., K] for low_rank, [..., L, D] for diagonal
        gamma: float = 1.0,
    ) -> Tensor:
        """The prompts [..., L, D] that standard normal `omega` stands for.

        low_rank: mu + gamma sum_k omega_k (h_k - mu) / sqrt(K - 1); diagonal: mu + gamma omega sigma.
        With K = 1 both are mu: textual inversion.
        """
        omega = omega.to(self.mu)
        if self.covariance == "diagonal":
            return self.mu + gamma * omega * self.sigma
        count = len(self.hidden)
        spread = torch.einsum("...k,kld->...ld", omega, self.hidden - self.mu)
        return self.mu + gamma / math.sqrt(max(1, count - 1)) * spread


def omega_shape(
    covariance: Covariance,
    shape: Sequence[int],  # K, L, D
) -> tuple[int, ...]:
    """(K,) for low_rank, (L, D) for diagonal."""
    return tuple(shape[:1]) if covariance == "low_rank" else tuple(shape[1:])


@dataclass(frozen=True)
class PromptDraw:
    """One draw omega, by its seed; the same for every prefix, suffix and view direction.

    Raises:
        UserError: a seed outside 0..2^32-1, a gamma that is negative or not finite, an unknown covariance.
    """

    seed: int
    gamma: float = 1.0
    covariance: Covariance = "low_rank"

    def __post_init__(self) -> None:
        check_covariance(self.covariance)
        if not 0 <= self.seed < SEED_LIMIT:
            raise UserError(f"the draw's seed {self.seed} is out of range: choose one from 0 to {SEED_LIMIT - 1}.")
        if not (math.isfinite(self.gamma) and self.gamma >= 0):
            raise UserError(f"the draw's gamma {self.gamma} must be a finite number of at least 0 (1 = as learned).")

    def omega(self, moments: Moments | Sequence[int]) -> Tensor:
        """Standard normal numbers, float32 on the CPU: [K] (low_rank) or [L, D] (diagonal).

        Args:
            moments: the moments, or their hidden states' shape (K, L, D).
        """
        shape = moments.hidden.shape if isinstance(moments, Moments) else moments
        generator = torch.Generator().manual_seed(self.seed)
        return torch.randn(omega_shape(self.covariance, shape), generator=generator)

    def omega_sha256(self, moments: Moments | Sequence[int]) -> str:
        """Hex SHA-256 of omega's bytes: proves years later that the draw is still the same."""
        return hashlib.sha256(self.omega(moments).numpy().astype("<f4").tobytes()).hexdigest()

    def embed(self, moments: Moments) -> Tensor:
        """The drawn prompt [L, D].

        Raises:
            UserError: the moments are of the other covariance.
        """
        if moments.covariance != self.covariance:
            raise UserError(
                f"the draw is {self.covariance}, the distribution {moments.covariance}: "
                "use the distribution the draw was made for."
            )
        return moments.embed(self.omega(moments), self.gamma)

    def to_dict(self, moments: Moments | Sequence[int] | None = None) -> dict[str, Any]:
        """Ready for JSON: seed, gamma, covariance and, when `moments` are given, `omega_sha256`."""
        value = {"seed": self.seed, "gamma": self.gamma, "covariance": self.covariance}
        return value if moments is None else value | {"omega_sha256": self.omega_sha256(moments)}

    @classmethod
    def from_dict(cls, value: Mapping[str, Any], moments: Moments | Sequence[int] | None = None) -> "PromptDraw":
        """The inverse of `to_dict`; given `moments`, a recorded `omega_sha256` is checked.

        Raises:
            UserError: a missing or odd entry, or an omega other than the recorded one.
        """
        try:
            draw = cls(int(value["seed"]), float(value["gamma"]), value["covariance"])
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(f"the recorded draw cannot be read ({error!r}): restore its run.json.") from error
        recorded = value.get("omega_sha256")
        if moments is not None and recorded is not None and draw.omega_sha256(moments) != recorded:
            raise UserError(
                f"draw {draw.seed} is not the recorded one any more (omega_sha256 differs): "
                "use the distribution file and the torch version that the run names."
            )
        return draw
