"""Views first, with a model that knows what it draws: the field becomes it, alone or in step, stopped or not."""

import os
import signal
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from dreamdist3d.config import load_config
from dreamdist3d.errors import Stopped, UserError
from dreamdist3d.lift.checkpoints import read_checkpoint
from dreamdist3d.lift.outputs import STILL_NAMES
from dreamdist3d.lift.render import render
from dreamdist3d.roads import Asset, check_road, lift_assets
from dreamdist3d.roads.config import PolishConfig
from dreamdist3d.roads.views import first_cameras
from tests.guidance.fakes import linear_backbone
from tests.roads.fakes import condition, knowing_backbone, road

COLORS = ((0.9, 0.1, 0.1), (0.1, 0.2, 0.9), (0.2, 0.8, 0.3))


def assets_in(folder: Path, resume: bool = False) -> list[Asset]:
    made = [Asset(condition(*color), folder / str(i), seed=i) for i, color in enumerate(COLORS)]
    return [replace(a, resume=a.folder / "ckpts" / "last.ckpt") for a in made] if resume else made


def same(field, other) -> None:
    torch.testing.assert_close(dict(field.state_dict()), dict(other.state_dict()), rtol=0, atol=0)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory):
    """Each asset's field, made by itself."""
    folder = tmp_path_factory.mktemp("alone")
    return [lift_assets(road(), knowing_backbone(), [asset])[0] for asset in assets_in(folder)]


def test_the_field_becomes_what_the_views_show(tmp_path: Path) -> None:
    config, told = road(steps=60, rounds=1), {}
    asset = replace(assets_in(tmp_path)[0], tell=told.__setitem__)
    (field,) = lift_assets(config, knowing_backbone(), [asset])
    seen = render(field, first_cameras(config.lift.data, 4, 0.0), 16, 32, torch.ones(3))
    middle, corner = seen.rgb[:, :, 7:9, 7:9].mean(dim=(0, 2, 3)), seen.opacity[:, 0, 0]
    torch.testing.assert_close(middle, torch.tensor(COLORS[0]), atol=0.15, rtol=0)
    assert seen.opacity[:, 7:9, 7:9].min() > 0.8 and corner.max() < 0.1
    assert told == {"cut": {"plain": 4}, "cut_in_rounds": {"plain": 4}}
    for name in STILL_NAMES:  # the first views, cut out, on white
        picture = np.asarray(Image.open(tmp_path / "0" / "save" / f"sample_{name}.png")) / 255
        np.testing.assert_allclose(picture[8, 8], COLORS[0], atol=0.02)
        assert (picture[0, 0] == 1).all()


def test_assets_in_step_equal_those_made_alone(tmp_path: Path, alone) -> None:
    for together, single in zip(lift_assets(road(), knowing_backbone(), assets_in(tmp_path)), alone, strict=True):
        same(together, single)


@pytest.mark.parametrize("at", [2, 7, 10])
def test_stopped_it_goes_on_with_its_views(tmp_path: Path, alone, at: int) -> None:
    """Before the first round, between the two, and in the polish; the step after the signal is the last."""

    def stop(step: int) -> None:
        if step == at:
            os.kill(os.getpid(), signal.SIGTERM)

    first, *others = assets_in(tmp_path)
    with pytest.raises(Stopped, match="3 runs kept a checkpoint"):
        lift_assets(road(), knowing_backbone(), [replace(first, on_step=stop), *others])
    kept = read_checkpoint(tmp_path / "1" / "ckpts" / "last.ckpt")["pool"]
    assert len(kept["weight"]) == {2: 4, 7: 8, 10: 12}[at] and kept["rgb"].dtype == torch.uint8
    resumed = lift_assets(road(), knowing_backbone(), assets_in(tmp_path, resume=True))
    for again, single in zip(resumed, alone, strict=True):
        same(again, single)


def test_the_polish_pulls_to_the_guidance_and_is_held_to_the_views(tmp_path: Path, monkeypatch) -> None:
    """A guidance that wants everything white, told how far the polish is, not the lift."""
    told = []

    class White:
        def losses(self, renders, beside=()):
            told.extend(one.progress for one in renders)
            return [1000 * (1 - one.rgb).square().mean() for one in renders]

        def after_step(self) -> None: ...

        def state_dict(self) -> dict:
            return {}

        def load_state_dict(self, state: dict) -> None: ...

    monkeypatch.setattr("dreamdist3d.roads.views.guidance_for", lambda *_: White())
    seen = {}
    for held in (0.0, 1e6):
        config = road(steps=60, rounds=0, polish=PolishConfig(start=0.5, held=held))
        (field,) = lift_assets(
            config, knowing_backbone(), [replace(assets_in(tmp_path)[0], folder=tmp_path / str(held))]
        )
        shown = render(field, first_cameras(config.lift.data, 4, 0.0), 16, 32, torch.ones(3))
        seen[held] = shown.rgb[:, :, 7:9, 7:9].mean(dim=(0, 2, 3))
    torch.testing.assert_close(seen[1e6], torch.tensor(COLORS[0]), atol=0.2, rtol=0)
    assert seen[0.0][1:].mean() > seen[1e6][1:].mean() + 0.2
    assert told[:30] == pytest.approx([step / 30 for step in range(30)])


def test_a_cut_that_removes_everything_ends_that_asset_alone(tmp_path: Path, alone) -> None:
    assets = assets_in(tmp_path)
    assets[1] = replace(assets[1], condition=condition(-1.0, -1.0, -1.0))
    first, failed, last = lift_assets(road(), knowing_backbone(), assets)
    assert isinstance(failed, UserError) and "left nothing of 4 of 4 views" in str(failed)
    same(first, alone[0])
    same(last, alone[2])


def test_a_checkpoint_without_views_or_with_others_is_one_line(tmp_path: Path) -> None:
    asset = assets_in(tmp_path)[0]
    lift_assets(road(), knowing_backbone(), [asset])
    again = replace(asset, resume=tmp_path / "0" / "ckpts" / "last.ckpt")
    (error,) = lift_assets(road(pool=8, steps=20), knowing_backbone(), [again])
    assert "keeps 12 views, more than system.lift.views.pool=8" in str(error)
    state = torch.load(again.resume, weights_only=True)
    state["pool"]["rgb"] = state["pool"]["rgb"][..., :8, :8]
    torch.save(state, again.resume)
    (error,) = lift_assets(road(), knowing_backbone(), [again])
    assert "its views have 8 pixels a side, and this backbone's have 16" in str(error)
    del state["pool"]
    torch.save(state, again.resume)
    (error,) = lift_assets(road(), knowing_backbone(), [again])
    assert "it keeps no views" in str(error)


def test_what_cannot_draw_views_is_refused() -> None:
    with pytest.raises(UserError, match="draws one: take mvdream or mini"):
        check_road(road(), linear_backbone(n_views=1))
    blind = knowing_backbone()
    blind.unet.config = SimpleNamespace(class_embed_type=None)
    with pytest.raises(UserError, match="told its cameras"):
        check_road(road(), blind)
    with pytest.raises(UserError, match=r"views\.count is 6.*multiple of 4"):
        check_road(road(count=6), knowing_backbone())
    odd = road()
    odd = replace(odd, lift=replace(odd.lift, data=replace(odd.lift.data, n_view=2)))
    with pytest.raises(UserError, match=r"data\.n_view is 2"):
        check_road(odd, knowing_backbone())
    check_road(road(), knowing_backbone())


def test_evaluations_are_those_of_the_configuration(tmp_path: Path) -> None:
    """4 steps, 2 rounds of 2, and a polish of 3; at full size at most a thousand."""
    backbone = knowing_backbone()
    lift_assets(road(), backbone, assets_in(tmp_path)[:1])
    assert backbone.unet.evaluations == 11 == road().choice.views.evaluations
    chosen = ["system.prompt_processor.prompt=a", "system.lift.kind=views"]
    assert load_config("dreamdist3d/mvdream.yaml", chosen).system.lift.views.evaluations <= 1000
