"""What `learn` can be told."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, get_args

from dreamdist3d.choices import Covariance, Objective
from dreamdist3d.errors import UserError
from dreamdist3d.prompts.distribution import MAX_PROMPTS
from dreamdist3d.prompts.moments import check_covariance

if TYPE_CHECKING:
    from dreamdist3d.backbones import Backbone

MINIATURE_SIZE = 64  # pixels; backbones up to this size take the small preset


@dataclass(frozen=True)
class LearnConfig:
    """How to learn; the defaults are for full-size Stable Diffusion.

    Args:
        objective: `coupled`, a draw and the picture of a sample belong together, or `paper`, Algorithm 1 of
            DreamDistribution: every picture with draws of its own.

    Raises:
        UserError: a value out of its range, by name, or one that the coupled objective has no place for.
    """

    objective: Objective = "coupled"
    prompts: int = 32  # K; 1 is textual inversion
    tokens: int = 4  # M
    samples: int = 1  # S, draws per image and step
    batch: int = 16
    steps: int = 1000
    lr: float = 1e-3
    ortho: float = 1e-3  # lambda, weight of the orthogonality term
    covariance: Covariance = "low_rank"
    prefix: str = ""
    suffix: str = ""
    seed: int = 0
    min_snr_gamma: float | None = None  # None: every timestep weighs the same

    def __post_init__(self) -> None:
        check_covariance(self.covariance)
        if self.objective not in get_args(Objective):
            raise UserError(f"objective={self.objective!r} is unknown: it is one of {', '.join(get_args(Objective))}.")
        for name in ("prompts", "tokens", "samples", "batch", "steps"):
            self._require(name, getattr(self, name) >= 1, "at least 1")
        self._require("prompts", self.prompts <= MAX_PROMPTS, f"at most {MAX_PROMPTS}")
        self._require("lr", math.isfinite(self.lr) and self.lr > 0, "a finite number above 0")
        self._require("ortho", math.isfinite(self.ortho) and self.ortho >= 0, "a finite number of at least 0")
        self._require("seed", self.seed >= 0, "at least 0")
        if self.min_snr_gamma is not None:
            self._require("min_snr_gamma", 0 < self.min_snr_gamma < math.inf, "a finite number above 0 (usually 5)")
        if self.objective == "coupled":
            self._check_coupled()

    def _check_coupled(self) -> None:
        if self.covariance != "low_rank":
            raise UserError(
                f"covariance={self.covariance} has no coupled objective, because no picture is nearest to its draws: "
                "learn it with objective=paper."
            )
        if self.samples > 1:
            raise UserError(
                f"samples={self.samples} draws for one picture are for objective=paper, a coupled draw has its own "
                "picture: raise batch instead."
            )

    def _require(self, name: str, holds: bool, what: str) -> None:
        if not holds:
            raise UserError(f"{name}={getattr(self, name)} is out of range: it must be {what}.")


def preset_for(backbone: "Backbone", objective: Objective = "coupled") -> LearnConfig:
    """The settings to start from on this backbone: the paper's at full size, fast ones in miniature.

    Both objectives ask as many samples of the UNet in a step; the paper's are several draws for each picture.
    """
    paper = objective == "paper"
    if backbone.image_size > MINIATURE_SIZE:
        return LearnConfig(objective, samples=4, batch=4) if paper else LearnConfig(objective)
    small: dict[str, Any] = {"prompts": 32, "steps": 250, "lr": 5e-3, "ortho": 5e-3}
    return LearnConfig(objective, **small | ({"samples": 2, "batch": 16} if paper else {"batch": 32}))
