"""Which lift a run takes, and what can be set about that by views. Torch-free."""

from dataclasses import dataclass, field, replace

from dreamdist3d.choices import CutKind, LiftKind
from dreamdist3d.guidance.config import GuidanceConfig
from dreamdist3d.lift.config import LiftConfig, LossConfig, OptimizerConfig
from dreamdist3d.typed import demand


@dataclass(frozen=True)
class PolishConfig:
    """The last steps of a lift by views: a short score distillation, held to what the views show.

    Attributes:
        start: share of the lift's steps from which on it is one; 1 for never.
        held: weight of the views' colours next to the guidance's loss, where field and views both have something.
        outlines: weight of the views' opacities next to their colours.
        max_timestep, min_timestep: as the guidance's, over these steps alone.
        loss: weights of the guidance and of the regularisers.
    """

    start: float = 0.75
    held: float = 3000.0
    outlines: float = 0.02
    max_timestep: tuple[float, float] = (0.5, 0.15)
    min_timestep: tuple[float, float] = (0.2, 0.02)
    loss: LossConfig = field(default_factory=LossConfig)

    def __post_init__(self) -> None:
        demand(0 <= self.start <= 1, "start", self.start, "a share from 0 to 1")
        for name in ("held", "outlines"):
            demand(getattr(self, name) >= 0, name, getattr(self, name), "0 or more")
        self.applied(GuidanceConfig())  # checks the noise levels

    def applied(self, config: GuidanceConfig) -> GuidanceConfig:
        """The guidance with these noise levels."""
        return replace(config, max_timestep=self.max_timestep, min_timestep=self.min_timestep)


@dataclass(frozen=True)
class ViewsConfig:
    """Views first: sample the draw's views, fit a field to them, and let the model redraw what it shows.

    "Share" means a share of the lift's steps.

    Attributes:
        steps: of the fit; `trainer.max_steps` is the distillation's.
        rays: pixels of all views that a step looks at.
        samples_per_ray: inside the cube, empty cells skipped.
        count: views that are sampled at once, evenly around the object; a multiple of what the model was trained on.
        sampling_steps: of DDIM, for the first views.
        guidance_scale, rescale: classifier-free guidance, and the share of its spread that is brought back.
        elevation_deg: of the first views.
        rounds: how often renders of the field are noised and denoised, from new sides, and join the views.
        redrawn: (from, to): shares at which the first and the last round come.
        noise: (first, last): noise level of a round, in (0, 1).
        round_steps: of DDIM in a round.
        pool: the most views that are kept; the first ones stay.
        fading: the weight of redrawn views next to the first ones, and its factor with every later round.
        cut: how backgrounds are removed: by their plain colour, by rembg, or (auto) by rembg where they are not plain.
        level_start, loss, optimizer: as in the other lift; `loss.guidance` weighs the pictures.
        polish: how the lift ends.
    """

    steps: int = 1200
    rays: int = 16_384
    samples_per_ray: int = 128
    count: int = 4
    sampling_steps: int = 50
    guidance_scale: float = 7.5
    rescale: float = 0.5
    elevation_deg: float = 15.0
    rounds: int = 12
    redrawn: tuple[float, float] = (0.2, 0.8)
    noise: tuple[float, float] = (0.6, 0.2)
    round_steps: int = 15
    pool: int = 40
    fading: float = 0.85
    cut: CutKind = "auto"
    level_start: tuple[float, ...] = (0.0, 0.0, 0.0, 0.15, 0.4)
    loss: LossConfig = field(default_factory=lambda: LossConfig(fog=0.05, entropy=0.02, tv=0.1))
    optimizer: OptimizerConfig = field(default_factory=lambda: OptimizerConfig(lr=0.05, mlp_lr=0.005))
    polish: PolishConfig = field(default_factory=PolishConfig)

    def __post_init__(self) -> None:
        for name in ("steps", "rays", "samples_per_ray", "count", "sampling_steps", "round_steps"):
            demand(getattr(self, name) >= 1, name, getattr(self, name), "1 or more")
        demand(self.count <= 64, "count", self.count, "up to 64")
        demand(0 <= self.rounds <= self.steps, "rounds", self.rounds, f"from 0 to steps={self.steps}")
        demand(0 <= self.guidance_scale < 10_000, "guidance_scale", self.guidance_scale, "from 0 to below 10000")
        for name in ("rescale", "fading"):
            demand(0 <= getattr(self, name) <= 1, name, getattr(self, name), "from 0 to 1")
        demand(-90 <= self.elevation_deg <= 90, "elevation_deg", self.elevation_deg, "degrees from -90 to 90")
        first, last = self.redrawn
        demand(0 <= first <= last < 1, "redrawn", self.redrawn, "two shares from 0 to below 1 that do not fall")
        demand(all(0 < level < 1 for level in self.noise), "noise", self.noise, "noise levels above 0 and below 1")
        least = self.count * (2 if self.rounds else 1)
        demand(self.pool >= least, "pool", self.pool, f"{least} or more: the first views and those of a round")

    @property
    def evaluations(self) -> float:
        """How often an asset asks the UNet for four views under guidance."""
        return (self.sampling_steps + self.rounds * self.round_steps) * self.count / 4 + self.steps - self.polished_from

    @property
    def polished_from(self) -> int:
        """The step with which the polish begins."""
        return round(self.steps * self.polish.start)

    def rounds_at(self) -> list[int]:
        """The steps before which a round comes, one each."""
        first, last = (share * self.steps for share in self.redrawn)
        apart = (last - first) / max(1, self.rounds - 1)
        return [round(first + number * apart) for number in range(self.rounds)]

    def applied(self, config: LiftConfig) -> LiftConfig:
        """The configuration of a lift by these views: their steps, rates and weights in place of the distillation's."""
        geometry = replace(config.geometry, level_start=self.level_start)
        return replace(config, max_steps=self.steps, geometry=geometry, loss=self.loss, optimizer=self.optimizer)


@dataclass(frozen=True)
class LiftChoice:
    """`kind` is the way from a draw to a field: distill (score distillation) or views (views first)."""

    kind: LiftKind = "distill"
    views: ViewsConfig = field(default_factory=ViewsConfig)

    def applied(self, config: LiftConfig) -> LiftConfig:
        """What the chosen lift makes of the sections that all lifts share."""
        return self.views.applied(config) if self.kind == "views" else config
