"""What can be set about a lift: cameras, field, renderer, losses, optimiser. Torch-free.

"Share" means a share of all steps, in [0, 1], so that a run keeps its shape when `max_steps` changes.
"""

from dataclasses import dataclass, field

from dreamdist3d.typed import demand


@dataclass(frozen=True)
class DataConfig:
    """Cameras and the resolution schedule.

    `resolution[i]` (pixels) and `batch_views[i]` hold until `until[i]` (share); the last entry to the end.
    `distance` is in units of 1 / tan(fov / 2).
    """

    resolution: tuple[int, ...] = (64, 256)
    batch_views: tuple[int, ...] = (8, 4)
    until: tuple[float, ...] = (0.5, 1.0)
    n_view: int = 4
    elevation_range_deg: tuple[float, float] = (0.0, 30.0)
    fovy_range_deg: tuple[float, float] = (15.0, 60.0)
    camera_distance_range: tuple[float, float] = (0.8, 1.0)

    def __post_init__(self) -> None:
        stages = len(self.resolution) == len(self.batch_views) == len(self.until) > 0
        demand(stages, "resolution", self.resolution, "a list with one entry per stage, as batch_views and until")
        _all_between(self.resolution, "resolution", 4, 4096)
        _between(self.n_view, "n_view", 1, 64)
        fits = all(views % self.n_view == 0 and 0 < views <= 1024 for views in self.batch_views)
        demand(fits, "batch_views", self.batch_views, f"multiples of n_view={self.n_view}, up to 1024")
        rises = all(0 < share <= 1 for share in self.until) and list(self.until) == sorted(self.until)
        demand(rises, "until", self.until, "shares above 0 and up to 1 that never fall")
        _range(self.elevation_range_deg, "elevation_range_deg", -90, 90)
        _range(self.fovy_range_deg, "fovy_range_deg", 1, 150)
        _range(self.camera_distance_range, "camera_distance_range", 0.01, 1000)


@dataclass(frozen=True)
class GeometryConfig:
    """A sum of dense feature grids, decoded by a small MLP.

    Attributes:
        radius: half size of the cube that holds the object (world units).
        levels: grid resolutions, coarse to fine.
        level_start: the share of the run at which each level begins to count.
        n_features: features per voxel.
        hidden: width of the MLP's hidden layer.
        blob_scale, blob_std: the initial density bump: scale * (1 - |x| / std) before the activation.
        density_gain: the softplus output is multiplied by this (1 / world unit).
    """

    radius: float = 1.0
    levels: tuple[int, ...] = (8, 16, 32, 64, 128)
    level_start: tuple[float, ...] = (0.0, 0.0, 0.0, 0.1, 0.3)
    n_features: int = 8
    hidden: int = 32
    blob_scale: float = 8.0
    blob_std: float = 0.5
    density_gain: float = 1.0

    def __post_init__(self) -> None:
        _between(self.radius, "radius", 1e-3, 1e3)
        stages = len(self.levels) == len(self.level_start) > 0
        demand(
            stages,
            "level_start",
            self.level_start,
            "a list with one entry per entry of levels, of which there are some",
        )
        _all_between(self.levels, "levels", 2, 1024)
        rises = self.level_start[0] == 0 and list(self.level_start) == sorted(self.level_start)
        demand(rises, "level_start", self.level_start, "shares of which the first begins at 0 and none falls")
        demand(self.level_start[-1] <= 1, "level_start", self.level_start, "shares of the run, up to 1")
        _between(self.n_features, "n_features", 1, 256)
        _between(self.hidden, "hidden", 1, 4096)
        demand(self.blob_std > 0, "blob_std", self.blob_std, "above 0")
        _at_least(self.density_gain, "density_gain", 0)


@dataclass(frozen=True)
class RendererConfig:
    """Volume rendering: samples along the ray inside the cube, empty cells skipped.

    `num_samples_per_ray[i]` goes with `data.resolution[i]`. The occupancy grid is renewed every
    `occupancy_every` steps; cells whose decayed density stays under `occupancy_threshold` are skipped.
    """

    num_samples_per_ray: tuple[int, ...] = (96, 192)
    occupancy_resolution: int = 32
    occupancy_every: int = 16
    occupancy_threshold: float = 0.05

    def __post_init__(self) -> None:
        _all_between(self.num_samples_per_ray, "num_samples_per_ray", 1, 4096)
        _between(self.occupancy_resolution, "occupancy_resolution", 1, 512)
        _at_least(self.occupancy_every, "occupancy_every", 1)
        _at_least(self.occupancy_threshold, "occupancy_threshold", 0)


@dataclass(frozen=True)
class BackgroundConfig:
    """`random_share` of the steps are seen against a random plain colour, the rest against `color`."""

    color: tuple[float, float, float] = (1.0, 1.0, 1.0)
    random_share: float = 0.7

    def __post_init__(self) -> None:
        _all_between(self.color, "color", 0, 1)
        _between(self.random_share, "random_share", 0, 1)


@dataclass(frozen=True)
class LossConfig:
    """Weights of the terms. `fog` clears thin density, `entropy` makes opacity decide, `tv` smooths."""

    guidance: float = 1.0
    fog: float = 0.0
    entropy: float = 0.0
    tv: float = 0.0


@dataclass(frozen=True)
class OptimizerConfig:
    """Adam; the rate holds until `decay_from` (share), then falls linearly to `final_scale` of it."""

    lr: float = 0.01
    mlp_lr: float = 0.001
    decay_from: float = 0.6
    final_scale: float = 0.2

    def __post_init__(self) -> None:
        for name in ("lr", "mlp_lr", "final_scale"):
            _at_least(getattr(self, name), name, 0)
        _between(self.decay_from, "decay_from", 0, 1)


@dataclass(frozen=True)
class LiftConfig:
    """Everything `lift` needs beside the guidance."""

    max_steps: int = 10_000
    checkpoint_every: int = 500
    log_every: int = 10
    data: DataConfig = field(default_factory=DataConfig)
    geometry: GeometryConfig = field(default_factory=GeometryConfig)
    renderer: RendererConfig = field(default_factory=RendererConfig)
    background: BackgroundConfig = field(default_factory=BackgroundConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)

    def __post_init__(self) -> None:
        for name in ("max_steps", "checkpoint_every", "log_every"):
            _at_least(getattr(self, name), name, 1)
        samples = self.renderer.num_samples_per_ray
        fits = len(samples) == len(self.data.resolution)
        demand(fits, "num_samples_per_ray", samples, "a list with one entry per entry of data.resolution")


def _at_least(value: float, key: str, least: float) -> None:
    demand(value >= least, key, value, f"{least} or more")


def _between(value: float, key: str, low: float, high: float) -> None:
    demand(low <= value <= high, key, value, f"between {low} and {high}")


def _all_between(values: tuple[float, ...], key: str, low: float, high: float) -> None:
    demand(len(values) > 0 and all(low <= value <= high for value in values), key, values, f"between {low} and {high}")


def _range(values: tuple[float, float], key: str, low: float, high: float) -> None:
    demand(low <= values[0] <= values[1] <= high, key, values, f"a lower and an upper bound between {low} and {high}")
