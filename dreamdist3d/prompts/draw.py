"""One draw from a prompt distribution, as a value that can be kept, compared and drawn again."""

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dreamdist3d.errors import UserError
from dreamdist3d.prompts.moments import Covariance, Moments, check_covariance
from dreamdist3d.prompts.normal import standard_normal
from dreamdist3d.typed import build

SEED_LIMIT = 2**32
_DECIMALS = 4  # of omega that its hash looks at: a machine's last bit must not make another draw of it


@dataclass(frozen=True)
class PromptDraw:
    """One draw omega, by its seed or given; the same omega under every prefix, suffix and view direction.

    Args:
        seed: of omega, 0..2^32-1; None when omega is `given`.
        gamma: scales the distance from the mean (DreamDistribution, section 3.4); 1 is as learned.
        covariance: of the Gaussian omega belongs to.
        antithetic: the twin on the other side of the mean, -omega.
        prefix, suffix: words around the tokens; None: the distribution's own.
        weights: of the components of a blend; None: the composition's own.
        component: which component of a mixture was drawn; None for anything else.
        given: omega itself, flattened, in place of a seed.

    Raises:
        UserError: a seed outside 0..2^32-1, neither or both of seed and `given`, a gamma that is negative or
            not finite, an unknown covariance.
    """

    seed: int | None = None
    gamma: float = 1.0
    covariance: Covariance = "low_rank"
    antithetic: bool = False
    prefix: str | None = None
    suffix: str | None = None
    weights: tuple[float, ...] | None = None
    component: int | None = None
    given: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        check_covariance(self.covariance)
        if (self.seed is None) == (self.given is None):
            raise UserError("a draw has either a seed or a given omega: name one of the two.")
        if self.seed is not None and not 0 <= self.seed < SEED_LIMIT:
            raise UserError(f"the draw's seed {self.seed} is out of range: choose one from 0 to {SEED_LIMIT - 1}.")
        if not (math.isfinite(self.gamma) and self.gamma >= 0):
            raise UserError(f"the draw's gamma {self.gamma} must be a finite number of at least 0 (1 = as learned).")

    @classmethod
    def of_omega(cls, omega: Tensor, **values: Any) -> "PromptDraw":
        """The draw with this omega, [K] (low_rank) or [L, D] (diagonal), and other fields by name."""
        covariance: Covariance = "low_rank" if omega.ndim == 1 else "diagonal"
        return cls(given=tuple(omega.detach().float().flatten().tolist()), covariance=covariance, **values)

    def under(self, **words: Any) -> "PromptDraw":
        """The same omega under another `prefix=` or `suffix=`, e.g. another view direction."""
        return replace(self, **words)

    def omega(self, moments: Moments) -> Tensor:
        """Standard normal numbers, float32 on the CPU: [R] (low_rank) or [L, D] (diagonal).

        Raises:
            UserError: a given omega has another size than the Gaussian.
        """
        shape = moments.omega_shape
        given = self.given or ()
        if self.seed is not None:
            omega = standard_normal(self.seed, shape)
        elif len(given) == math.prod(shape):
            omega = torch.tensor(given, dtype=torch.float32).view(shape)
        else:
            raise UserError(
                f"the given omega has {len(given)} numbers, this distribution takes {math.prod(shape)}: "
                "use the distribution it was made for."
            )
        return -omega if self.antithetic else omega

    def omega_sha256(self, moments: Moments) -> str:
        """Hex SHA-256 of omega to four decimals: proves years later that the draw is still the same."""
        rounded = np.rint(self.omega(moments).double().numpy() * 10**_DECIMALS).astype("<i4")
        return hashlib.sha256(rounded.tobytes()).hexdigest()

    def embed(self, moments: Moments) -> Tensor:
        """The drawn prompt [L, D].

        Raises:
            UserError: the moments are of the other covariance, or the prompt is not finite.
        """
        if moments.covariance != self.covariance:
            raise UserError(
                f"the draw is {self.covariance}, the distribution {moments.covariance}: "
                "use the distribution the draw was made for."
            )
        prompt = moments.embed(self.omega(moments), self.gamma)
        # Finite tokens may still be too large for a text encoder, and a finite gamma for a deviation.
        if not torch.isfinite(prompt).all():
            raise UserError(
                f"draw {self.seed} at gamma {self.gamma:g} holds numbers that are not finite: the distribution's are "
                "too large for its text encoder. Learn it again, or draw with a smaller gamma."
            )
        return prompt

    def to_dict(self, moments: Moments | None = None) -> dict[str, Any]:
        """Ready for JSON: what is set and, when `moments` are given, `omega_sha256`."""
        value: dict[str, Any] = {"seed": self.seed, "gamma": self.gamma, "covariance": self.covariance}
        for name in _OPTIONAL:
            set_to = getattr(self, name)
            if set_to is not None and set_to is not False:  # the first component, 0, is set
                value[name] = list(set_to) if isinstance(set_to, tuple) else set_to
        return value if moments is None else value | {"omega_sha256": self.omega_sha256(moments)}

    @classmethod
    def from_dict(cls, value: Mapping[str, Any], moments: Moments | None = None) -> "PromptDraw":
        """The inverse of `to_dict`; given `moments`, a recorded `omega_sha256` is checked.

        Raises:
            UserError: a missing or odd entry, or an omega other than the recorded one.
        """
        recorded = value.get("omega_sha256")
        draw = build(cls, {k: v for k, v in value.items() if k != "omega_sha256"}, "the recorded draw")
        if moments is not None and recorded is not None and draw.omega_sha256(moments) != recorded:
            raise UserError(
                f"draw {draw.seed} is not the recorded one any more (omega_sha256 differs): "
                "use the distribution file that the run names."
            )
        return draw


_OPTIONAL = tuple(f.name for f in fields(PromptDraw) if f.name not in ("seed", "gamma", "covariance"))
