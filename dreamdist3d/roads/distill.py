"""Score distillation (DreamFusion, MVDream): a field is changed until its renders please a guidance."""

from collections.abc import Sequence

from dreamdist3d.backbones import Backbone
from dreamdist3d.errors import UserError
from dreamdist3d.guidance.base import guidance_for
from dreamdist3d.lift.field import Field
from dreamdist3d.lift.optimize import lift_together
from dreamdist3d.roads.base import Asset, RoadConfig


def lift(config: RoadConfig, backbone: Backbone, assets: Sequence[Asset]) -> list[Field | UserError]:
    """As `lift_assets`."""
    guided = [asset.pulled_by(guidance_for(backbone, asset.condition, config.guidance, asset.seed)) for asset in assets]
    return lift_together(config.lift, guided, device=str(backbone.device))


def check(config: RoadConfig, backbone: Backbone) -> None:
    """As `check_road`: the views of a step are whole objects for the backbone."""
    if config.lift.data.n_view % backbone.n_views:
        raise UserError(
            f"data.n_view is {config.lift.data.n_view}, but backbone {backbone.name} sees {backbone.n_views} views at "
            f"once: set it to a multiple of {backbone.n_views}."
        )
