"""What a lift shows its guidance, and what it asks of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from dreamdist3d.lift.cameras import Cameras


@dataclass(frozen=True)
class Renders:
    """Pictures of one asset in one step, and what a guidance needs to judge them."""

    rgb: Tensor  # [B, 3, H, W], [0, 1]
    cameras: Cameras  # B
    progress: float  # share of the lift behind it, [0, 1]
    generator: torch.Generator  # on the CPU, the step's own
    background: Tensor  # [3], [0, 1]


@runtime_checkable
class Guidance(Protocol):
    """What one asset's renders are pulled to. `dreamdist3d.guidance` has some, by name."""

    def losses(self, renders: Sequence[Renders], beside: Sequence[Any] = ()) -> list[Tensor]:
        """A scalar for each asset: this one's renders come first, then those of the guidances `beside` it.

        Assets in step are judged in one pass of each network, and each as it would be alone. The gradient reaches
        the renders alone.
        """

    def after_step(self) -> None:
        """What is to be done when the field has moved, such as a step of an optimiser of its own."""

    def state_dict(self) -> dict[str, Any]:
        """Tensors and numbers that the asset's checkpoint keeps; empty for a guidance that never changes."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what `state_dict` gave.

        Raises:
            UserError: it is not such a state.
        """
