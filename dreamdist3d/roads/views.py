"""Views first: the draw's views are sampled, a field is fitted to them, and the model redraws what the field shows."""

from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from dreamdist3d.backbones import Backbone
from dreamdist3d.errors import UserError
from dreamdist3d.files import ensure_folder, write_atomic
from dreamdist3d.guidance.base import guidance_for
from dreamdist3d.lift.cameras import CameraRanges, Cameras, orbit, sample_cameras
from dreamdist3d.lift.config import DataConfig
from dreamdist3d.lift.field import Field
from dreamdist3d.lift.members import Member, in_step
from dreamdist3d.lift.optimize import Late, advance
from dreamdist3d.lift.outputs import STILL_NAMES
from dreamdist3d.lift.photometric import fit_step, held
from dreamdist3d.lift.pool import ViewPool
from dreamdist3d.lift.render import render
from dreamdist3d.lift.state import Stateful
from dreamdist3d.randomness import generator_for
from dreamdist3d.roads import distill
from dreamdist3d.roads.artist import Artist, Order, backdrop_for
from dreamdist3d.roads.base import Asset, RoadConfig
from dreamdist3d.roads.config import ViewsConfig
from dreamdist3d.roads.cut import cut_out

SAMPLE_PREFIX = "sample_"


class _Maker(Member):
    """An asset, its field and its views."""

    def __init__(self, config: RoadConfig, backbone: Backbone, asset: Asset, stack: ExitStack) -> None:
        views = config.choice.views
        self.pool = ViewPool(backbone.image_size, views.pool, views.fading, backbone.device)
        guidance = guidance_for(backbone, asset.condition, views.polish.applied(config.guidance), asset.seed)
        kept: dict[str, Stateful] = {"pool": self.pool, "guidance": guidance}
        super().__init__(config.lift, asset.pulled_by(guidance), str(backbone.device), stack, kept)
        self.condition, self.tell = asset.condition, asset.tell


def lift(config: RoadConfig, backbone: Backbone, assets: Sequence[Asset]) -> list[Field | UserError]:
    """As `lift_assets`; the first views are left in `save/` of each asset's folder."""
    artist = Artist(backbone, config.choice.views)
    with ExitStack() as stack:
        makers = [_Maker(config, backbone, asset, stack) for asset in assets]
        in_step(makers, partial(_advance, config, artist), "views")
    for maker in makers:
        if maker.error is None:
            with maker.failing():
                save_first_views(maker.pool, maker.asset.folder / "save")
    return [maker.outcome for maker in makers]


def check(config: RoadConfig, backbone: Backbone) -> None:
    """As `check_road`: the model draws several views of one object from given cameras."""
    count, other = config.choice.views.count, "or take the other lift: system.lift.kind=distill."
    if backbone.n_views < 2:
        raise UserError(
            f"system.lift.kind=views needs a backbone that draws several views of one object, and {backbone.name} "
            f"draws one: take mvdream or mini, {other}"
        )
    if backbone.unet.config.class_embed_type != "projection":
        raise UserError(
            f"system.lift.kind=views needs a backbone that is told its cameras, and {backbone.name} is not: take "
            f"mvdream or mini, {other}"
        )
    if config.choice.views.polish.start < 1:
        distill.check(config, backbone)
    if count % backbone.n_views:
        raise UserError(
            f"system.lift.views.count is {count}, but backbone {backbone.name} draws {backbone.n_views} views at once: "
            f"set it to a multiple of {backbone.n_views}."
        )


def _advance(config: RoadConfig, artist: Artist, makers: Sequence[_Maker]) -> None:
    """One step of each; before it, when they are due, its first views or a round."""
    step, views = makers[0].state.step, config.choice.views
    if step == 0:
        _begin(config, artist, makers)
    if step in (rounds := views.rounds_at()):
        _round(config, artist, [maker for maker in makers if maker.error is None], rounds.index(step))
    sound = [maker for maker in makers if maker.error is None]
    if sound and step >= views.polished_from:
        advance(sound, late=_polish(views))
        return
    for maker in sound:
        with maker.failing():
            maker.values = fit_step(maker.state, maker.pool, views.rays, views.samples_per_ray)


def _polish(views: ViewsConfig) -> Late:
    polish = views.polish

    def pictures(maker: _Maker) -> Tensor:
        return polish.held * held(maker.state, maker.pool, views.rays, views.samples_per_ray, polish.outlines)

    return Late(views.polished_from / views.steps, polish.loss, pictures)


def _begin(config: RoadConfig, artist: Artist, makers: Sequence[_Maker]) -> None:
    """The first views of all."""
    cameras = first_cameras(config.lift.data, config.choice.views.count, config.choice.views.elevation_deg)
    orders = [Order(maker.condition, cameras, generator_for(maker.state.seed, "first views")) for maker in makers]
    for maker, pictures in zip(makers, artist.draw(orders), strict=True):
        _keep(config, maker, cameras, pictures, "cut")


def _round(config: RoadConfig, artist: Artist, makers: Sequence[_Maker], number: int) -> None:
    """What each field shows from new sides, redrawn."""
    views = config.choice.views
    first, last = views.noise
    level = first + (last - first) * number / max(1, views.rounds - 1)
    orders, shown = [], []
    for maker in makers:
        generator = generator_for(maker.state.seed, "round", number)
        cameras = sample_cameras(_ranges(config.lift.data, views.count), 1, generator)
        orders.append(Order(maker.condition, cameras, generator))
        shown.append(_shown(maker, cameras, artist.backbone.image_size, views.samples_per_ray))
    for maker, order, pictures in zip(
        makers, orders, artist.redraw(orders, shown, level) if orders else [], strict=True
    ):
        _keep(config, maker, order.cameras, pictures, "cut_in_rounds")


def _keep(config: RoadConfig, maker: _Maker, cameras: Cameras, pictures: Tensor, name: str) -> None:
    with maker.failing():
        cutout = cut_out(pictures, config.choice.views.cut)
        maker.pool.add(cameras, cutout.rgb, cutout.alpha)
        maker.tell(name, cutout.how)


@torch.no_grad()
def _shown(maker: _Maker, cameras: Cameras, size: int, n_samples: int) -> Tensor:
    """Renders [V, 3, S, S] over the colour that is least like them."""
    state = maker.state
    device = state.field.outer.weight.device
    with state.field.cached() as field:
        seen = [
            render(field, cameras.at([view]).to(device), size, n_samples, torch.zeros(3), state.occupancy)
            for view in range(len(cameras.c2w))
        ]
    rgb, alpha = torch.cat([one.rgb for one in seen]), torch.cat([one.opacity for one in seen])
    behind = backdrop_for(rgb, alpha > 0.5).to(rgb).view(1, 3, 1, 1)
    return (rgb + (1 - alpha[:, None]) * behind).clamp(0, 1)


def first_cameras(data: DataConfig, count: int, elevation_deg: float) -> Cameras:
    """Evenly around the object from its front on, at the middle of the fields of view and distances of `data`."""
    azimuths = torch.arange(count) * (360.0 / count)
    fov = torch.full_like(azimuths, sum(data.fovy_range_deg) / 2)
    distance = sum(data.camera_distance_range) / 2 / torch.tan(torch.deg2rad(fov) / 2)
    return orbit(azimuths, torch.full_like(azimuths, elevation_deg), distance, fov)


def _ranges(data: DataConfig, count: int) -> CameraRanges:
    return CameraRanges(data.elevation_range_deg, data.fovy_range_deg, data.camera_distance_range, count)


def save_first_views(pool: ViewPool, folder: Path) -> None:
    """Write those of the first views that look at the front, left, back and right, on white, beside the stills."""
    rgb, alpha = pool.first()
    pictures = (torch.lerp(torch.ones_like(rgb), rgb, alpha[:, None]) * 255).round().byte().movedim(1, -1).cpu().numpy()
    ensure_folder(folder)
    for side, name in enumerate(STILL_NAMES):
        picture = Image.fromarray(pictures[side * len(pictures) // len(STILL_NAMES)])
        write_atomic(folder / f"{SAMPLE_PREFIX}{name}.png", picture.save)
