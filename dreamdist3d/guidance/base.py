"""What a run is guided by, and the guidances by name."""

from dataclasses import dataclass
from importlib import import_module
from typing import Any

from torch import Tensor

from dreamdist3d.backbones import Backbone
from dreamdist3d.guidance.config import GuidanceConfig
from dreamdist3d.lift.renders import Guidance

GUIDANCES = {
    "x0": "dreamdist3d.guidance.multiview:MultiviewGuidance",
    "sds": "dreamdist3d.guidance.multiview:MultiviewGuidance",
    "vsd": "dreamdist3d.guidance.vsd:VsdGuidance",
}
"""Where the class of each kind is; it is called as `guidance_for` calls it."""


@dataclass(frozen=True)
class Condition:
    """The encoded prompt and negative prompt, and where they come from (None for a plain text)."""

    text: Tensor  # [L, D]
    negative: Tensor  # [L, D]
    text_views: Tensor | None = None  # [4, L, D], under the view directions, for a backbone that does not see cameras
    draw: dict[str, Any] | None = None
    distribution: dict[str, Any] | None = None


def guidance_for(backbone: Backbone, condition: Condition, config: GuidanceConfig, seed: int) -> Guidance:
    """The guidance of one asset, of the kind that the configuration names.

    Args:
        backbone: frozen.
        condition: what the asset is to become.
        config: its kind and settings.
        seed: of whatever it draws once for the whole lift.
    """
    module, _, name = GUIDANCES[config.kind].partition(":")
    make = getattr(import_module(module), name)
    return make(backbone, condition.text, condition.negative, config, condition.text_views, seed)
