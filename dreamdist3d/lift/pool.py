"""Pictures of one object from known sides, which a field is fitted to."""

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from dreamdist3d.errors import UserError
from dreamdist3d.lift.cameras import Cameras

_CAMERA = ("c2w", "fov_deg", "azimuth_deg", "elevation_deg", "distance")
_TENSORS = (*_CAMERA, "rgb", "alpha", "weight")


@dataclass(frozen=True)
class Rays:
    """R pixels of a pool: where they look, and what is seen there."""

    origins: Tensor  # [R, 3]
    directions: Tensor  # [R, 3], unit
    rgb: Tensor  # [R, 3], straight, [0, 1]
    alpha: Tensor  # [R], [0, 1]


class ViewPool:
    """Views with cut-out backgrounds. Those of the first set stay; of later ones the oldest leave when it is full.

    Args:
        size: pixels a side of every view.
        capacity: the most views it holds, the first set among them.
        fading: the weight of a later set, where the first has 1, and what every further set multiplies it by.
        device: where the views are kept.
    """

    def __init__(self, size: int, capacity: int, fading: float, device: torch.device | str = "cpu") -> None:
        self.size, self.capacity, self.fading = size, capacity, fading
        numbers = {"c2w": (0, 4, 4), **dict.fromkeys((*_CAMERA[1:], "weight"), (0,))}
        pictures = {"rgb": (0, 3, size, size), "alpha": (0, size, size)}
        self._views = {name: torch.zeros(shape, device=device) for name, shape in numbers.items()} | {
            name: torch.zeros(shape, device=device, dtype=torch.uint8) for name, shape in pictures.items()
        }
        self._first = 0

    def __len__(self) -> int:
        return len(self._views["weight"])

    def add(self, cameras: Cameras, rgb: Tensor, alpha: Tensor) -> None:
        """Take a set of views in: rgb [V, 3, S, S] and alpha [V, S, S], both in [0, 1]."""
        kept = self._views
        fresh = {name: getattr(cameras, name) for name in _CAMERA} | {"rgb": _bytes(rgb), "alpha": _bytes(alpha)}
        fresh["weight"] = torch.ones(len(alpha))
        if not self._first:
            self._first = len(alpha)
        else:
            kept["weight"] = kept["weight"].clone()
            kept["weight"][self._first :] *= self.fading
            fresh["weight"] *= self.fading
        joined = {name: torch.cat([kept[name], fresh[name].to(kept[name])]) for name in _TENSORS}
        count = len(joined["weight"])
        rows = [*range(self._first), *range(max(self._first, count - (self.capacity - self._first)), count)]
        self._views = {name: values[rows] for name, values in joined.items()}

    def first(self) -> tuple[Tensor, Tensor]:
        """The first set: rgb [V, 3, S, S] and alpha [V, S, S]."""
        return self._views["rgb"][: self._first] / 255.0, self._views["alpha"][: self._first] / 255.0

    def rays(self, count: int, generator: torch.Generator) -> Rays:
        """Random pixels of random views, each view as often as its weight says.

        Args:
            count: R.
            generator: on the CPU.
        """
        device = self._views["weight"].device
        view = torch.multinomial(self._views["weight"].cpu(), count, replacement=True, generator=generator).to(device)
        pixel = torch.randint(self.size**2, (count,), generator=generator).to(device)
        row, column = pixel // self.size, pixel % self.size
        c2w, fov = self._views["c2w"][view], self._views["fov_deg"][view]
        place = torch.stack([column + 0.5, self.size - row - 0.5], dim=-1) * (2.0 / self.size) - 1.0
        across = place * torch.tan(torch.deg2rad(fov) / 2)[:, None]
        local = torch.cat([across, -torch.ones_like(across[:, :1])], dim=-1)
        directions = F.normalize(torch.einsum("rij,rj->ri", c2w[:, :3, :3], local), dim=-1)
        rgb, alpha = self._views["rgb"][view, :, row, column], self._views["alpha"][view, row, column]
        return Rays(c2w[:, :3, 3], directions, rgb / 255.0, alpha / 255.0)

    def state_dict(self) -> dict[str, Any]:
        """All views."""
        return {name: values.cpu() for name, values in self._views.items()} | {"first": self._first}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what `state_dict` gave.

        Raises:
            UserError: there is none, or its pictures are of another size.
        """
        if not {*_TENSORS, "first"} <= state.keys():
            raise UserError("it keeps no views: it is not of system.lift.kind=views.")
        if state["rgb"].shape[1:] != (3, self.size, self.size):
            raise UserError(
                f"its views have {state['rgb'].shape[-1]} pixels a side, and this backbone's have {self.size}."
            )
        if len(state["weight"]) > self.capacity:
            raise UserError(
                f"it keeps {len(state['weight'])} views, more than system.lift.views.pool={self.capacity}: raise that."
            )
        self._views = {name: state[name].to(values) for name, values in self._views.items()}
        self._first = int(state["first"])


def _bytes(pictures: Tensor) -> Tensor:
    return (pictures.clamp(0, 1) * 255).round().byte()
