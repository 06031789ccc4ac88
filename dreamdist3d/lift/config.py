"""What can be set about a lift: cameras, field, renderer, losses, optimiser. Torch-free.

"Share" means a share of all steps, in [0, 1], so that a run keeps its shape when `max_steps` changes.
"""

from dataclasses import dataclass, field


@dataclass
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
        if not len(self.resolution) == len(self.batch_views) == len(self.until):
            raise ValueError("resolution, batch_views and until need one entry per stage each")
        if any(views % self.n_view or not views for views in self.batch_views):
            raise ValueError(f"batch_views must be multiples of n_view={self.n_view}, not {self.batch_views}")


@dataclass
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


@dataclass
class RendererConfig:
    """Volume rendering: samples along the ray inside the cube, empty cells skipped.

    `num_samples_per_ray[i]` goes with `data.resolution[i]`. The occupancy grid is renewed every
    `occupancy_every` steps; cells whose decayed density stays under `occupancy_threshold` are skipped.
    """

    num_samples_per_ray: tuple[int, ...] = (96, 192)
    occupancy_resolution: int = 32
    occupancy_every: int = 16
    occupancy_threshold: float = 0.05


@dataclass
class BackgroundConfig:
    """`random_share` of the steps are seen against a random plain colour, the rest against `color`."""

    color: tuple[float, float, float] = (1.0, 1.0, 1.0)
    random_share: float = 0.7


@dataclass
class LossConfig:
    """Weights of the terms. `fog` clears thin density, `entropy` makes opacity decide, `tv` smooths."""

    guidance: float = 1.0
    fog: float = 0.0
    entropy: float = 0.0
    tv: float = 0.0


@dataclass
class OptimizerConfig:
    """Adam; the rate holds until `decay_from` (share), then falls linearly to `final_scale` of it."""

    lr: float = 0.01
    mlp_lr: float = 0.001
    decay_from: float = 0.6
    final_scale: float = 0.2


@dataclass
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
        if len(self.renderer.num_samples_per_ray) != len(self.data.resolution):
            raise ValueError("num_samples_per_ray needs one entry per entry of data.resolution")
        if len(self.geometry.levels) != len(self.geometry.level_start):
            raise ValueError("level_start needs one entry per entry of levels")
        if self.geometry.level_start[0] != 0 or list(self.geometry.level_start) != sorted(self.geometry.level_start):
            raise ValueError(f"level_start begins at 0 and never falls, unlike {self.geometry.level_start}")
