"""The 3D asset while it is being made: density and colour from multi-resolution feature grids."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dreamdist3d.lift.config import GeometryConfig


class Field(nn.Module):
    """Density (>= 0, 1 / world unit) and colour (sRGB in [0, 1]) at points of the cube [-radius, radius]^3.

    Dense grids of several resolutions are summed into one before it is sampled, so that a query costs a
    single trilinear lookup and a small MLP, whatever the number of levels. Fine levels join late
    (`set_progress`): coarse shape first, then detail.
    """

    def __init__(self, config: GeometryConfig, generator: torch.Generator) -> None:
        super().__init__()
        self.config = config
        self.radius = config.radius
        self.grids = nn.ParameterList(
            nn.Parameter(torch.randn(1, config.n_features, n, n, n, generator=generator) * 0.01) for n in config.levels
        )
        self.inner = nn.Linear(config.n_features, config.hidden)
        self.outer = nn.Linear(config.hidden, 4)
        for layer in (self.inner, self.outer):
            bound = layer.in_features**-0.5
            nn.init.uniform_(layer.weight, -bound, bound, generator=generator)
            nn.init.zeros_(layer.bias)
        self.active_levels: Tensor
        self.register_buffer("active_levels", torch.tensor(len(config.levels)))
        self._volume: Tensor | None = None

    def set_progress(self, progress: float) -> None:
        """Let every level join whose share of the run has come."""
        self.active_levels.fill_(sum(start <= progress for start in self.config.level_start))

    def volume(self) -> Tensor:
        """The active grids summed at the finest active resolution: [1, features, n, n, n]."""
        active = list(self.grids)[: int(self.active_levels)]
        # A plain tensor even when it is alone: a Parameter kept in `_volume` would be registered as the module's own.
        total = active[0].view_as(active[0])
        for grid in active[1:]:
            size = grid.shape[2:]
            total = F.interpolate(total, size=size, mode="trilinear", align_corners=True) + grid
        return total

    @property
    def resolution(self) -> int:
        """Nodes along each edge of the finest active grid."""
        return self.config.levels[int(self.active_levels) - 1]

    def cached(self) -> "_Cached":
        """A context in which the grids are summed once for any number of queries; entered again, it has them still."""
        return _Cached(self)

    def forward(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """[N, 3] world points to density [N] and colour [N, 3]."""
        volume = self.volume() if self._volume is None else self._volume
        # grid_sample's last axis runs fastest and is named x; the grid is stored [x, y, z].
        place = (points / self.radius).flip(-1).view(1, 1, 1, -1, 3)
        features = F.grid_sample(volume, place, align_corners=True, padding_mode="border")
        # Features first, [features, N]: the weight gradients then contract contiguous rows.
        features = features.view(self.config.n_features, -1)
        hidden = F.silu(torch.addmm(self.inner.bias[:, None], self.inner.weight, features))
        raw = torch.addmm(self.outer.bias[:, None], self.outer.weight, hidden)  # [4, N]
        # The first feature reaches the density directly, so that the grid alone can carve.
        logit = raw[0] + features[0] + self._blob(points)
        return F.softplus(logit) * self.config.density_gain, torch.sigmoid(raw[1:]).t()

    def density(self, points: Tensor) -> Tensor:
        """[N, 3] -> [N]."""
        return self(points)[0]

    def color(self, points: Tensor) -> Tensor:
        """[N, 3] -> [N, 3], sRGB."""
        return self(points)[1]

    def look(self, points: Tensor) -> Tensor:
        """[N, 3] -> [N, 4]: density and sRGB."""
        density, color = self(points)
        return torch.cat([density[:, None], color], dim=1)

    def total_variation(self) -> Tensor:
        """Mean squared difference of neighbours in the summed grid: a scalar."""
        volume = self.volume() if self._volume is None else self._volume
        return torch.stack([volume.diff(dim=axis).square().mean() for axis in (2, 3, 4)]).sum()

    def _blob(self, points: Tensor) -> Tensor:
        return self.config.blob_scale * (1.0 - points.norm(dim=-1) / self.config.blob_std)


class _Cached:
    def __init__(self, field: Field) -> None:
        self.field = field
        self._volume: Tensor | None = None

    def __enter__(self) -> Field:
        if self._volume is None:
            self._volume = self.field.volume()
            if not torch.is_grad_enabled():
                # A corner's features side by side: queries are 2 to 4 times as fast, gradients gain nothing.
                self._volume = self._volume.contiguous(memory_format=torch.channels_last_3d)
        self.field._volume = self._volume
        return self.field

    def __exit__(self, *_: object) -> None:
        self.field._volume = None
