"""The optimisation loop: it learns, it repeats itself, it stops and goes on, and it says what went wrong."""

import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from dreamdist3d.errors import Stopped, UserError
from dreamdist3d.lift import lift, load_field
from dreamdist3d.lift.checkpoints import PREVIOUS, DamagedCheckpoint, last_readable
from dreamdist3d.lift.config import BackgroundConfig, DataConfig, LossConfig, OptimizerConfig
from dreamdist3d.lift.optimize import Lift, lift_together
from dreamdist3d.lift.state import resolution_stage
from tests.lift.fakes import SMALL, small_config
from tests.lift.test_together import one_by_one

CONFIG = small_config()


def towards_green(rgb, cameras, progress, generator, background):
    """Every picture should be green, give or take a noise that the generator draws."""
    wanted = torch.tensor([0.1, 0.8, 0.2])[:, None, None] + 0.05 * torch.randn(rgb.shape, generator=generator)
    return (rgb - wanted).square().mean()


class Watched:
    """A guidance that remembers its calls and, when it comes to step `at`, does something."""

    def __init__(self, at=None, act=lambda: None, guidance=towards_green):
        self.at, self.act, self.guidance, self.calls = at, act, guidance, []

    def __call__(self, rgb, cameras, progress, generator, background):
        if len(self.calls) == self.at:
            self.act()
        seen = {"rgb": rgb.detach().clone(), "cameras": cameras, "progress": progress, "background": background}
        self.calls.append(seen)
        return self.guidance(rgb, cameras, progress, generator, background)


def interrupt(number=signal.SIGINT):
    return lambda: os.kill(os.getpid(), number)


def checkpoint_of(folder: Path):
    return torch.load(folder / "ckpts" / "last.ckpt", weights_only=True)


def same(a, b):
    """Bitwise equality of nested state."""
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The checkpoint of an uninterrupted lift."""
    folder = tmp_path_factory.mktemp("whole")
    lift(CONFIG, towards_green, folder, seed=3)
    return checkpoint_of(folder)


def test_the_loss_falls_and_the_renders_show_what_was_asked_for(tmp_path):
    config = small_config(max_steps=60, background=BackgroundConfig(random_share=0.0))
    watched = Watched()
    lift(config, watched, tmp_path, seed=0)
    losses = [
        float((call["rgb"] - torch.tensor([0.1, 0.8, 0.2])[:, None, None]).square().mean()) for call in watched.calls
    ]
    assert sum(losses[-5:]) < 0.2 * sum(losses[:5])
    shown = watched.calls[-1]["rgb"][:, :, 3:5, 3:5].mean(dim=(0, 2, 3))
    torch.testing.assert_close(shown, torch.tensor([0.1, 0.8, 0.2]), atol=0.25, rtol=0)


def test_regularisers_are_weighed_in(tmp_path):
    """With nothing but the price of fog, the blob goes away."""
    loss = LossConfig(guidance=0.0, fog=1.0)
    watched = Watched()
    lift(
        small_config(max_steps=40, loss=loss, background=BackgroundConfig(random_share=0.0)), watched, tmp_path, seed=0
    )
    seen = [float((1 - call["rgb"]).mean()) for call in watched.calls]
    assert seen[-1] < 0.5 * seen[0]


@pytest.mark.parametrize("stop_at,number", [(0, signal.SIGINT), (4, signal.SIGTERM), (9, signal.SIGINT)])
def test_interrupted_and_resumed_equals_uninterrupted(tmp_path, whole, stop_at, number):
    checkpoint = tmp_path / "ckpts" / "last.ckpt"
    with pytest.raises(Stopped, match=rf"step {stop_at + 1} of 12; resume={checkpoint}") as caught:
        lift(CONFIG, Watched(stop_at, interrupt(number)), tmp_path, seed=3)
    assert caught.value.exit_code == 130 and checkpoint_of(tmp_path)["step"] == stop_at + 1
    resumed = Watched()
    # The seed of the checkpoint counts: a resumed run is the same run.
    lift(CONFIG, resumed, tmp_path, seed=99, resume=checkpoint)
    assert len(resumed.calls) == 12 - stop_at - 1
    assert same(checkpoint_of(tmp_path), whole)


def test_a_signal_during_the_last_step_changes_nothing(tmp_path, whole):
    lift(CONFIG, Watched(11, interrupt()), tmp_path, seed=3)
    assert same(checkpoint_of(tmp_path), whole)


def test_a_killed_lift_goes_on_from_its_last_regular_checkpoint(tmp_path, whole):
    def die():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        lift(CONFIG, Watched(8, die), tmp_path, seed=3)
    assert checkpoint_of(tmp_path)["step"] == 5
    lift(CONFIG, towards_green, tmp_path, seed=3, resume=tmp_path / "ckpts" / "last.ckpt")
    assert same(checkpoint_of(tmp_path), whole)


def test_the_seed_decides_and_the_global_one_does_not(tmp_path, whole):
    torch.manual_seed(77)
    lift(CONFIG, towards_green, tmp_path / "same", seed=3)
    assert same(checkpoint_of(tmp_path / "same"), whole)
    lift(CONFIG, towards_green, tmp_path / "other", seed=4)
    assert not same(checkpoint_of(tmp_path / "other")["field"], whole["field"])


def test_a_finished_lift_is_not_walked_again(tmp_path, whole):
    lift(CONFIG, towards_green, tmp_path, seed=3)
    again = Watched()
    field = lift(CONFIG, again, tmp_path, seed=3, resume=tmp_path / "ckpts" / "last.ckpt")
    assert not again.calls and same(dict(field.state_dict()), whole["field"])


def test_load_field_is_the_field_of_the_lift(tmp_path):
    field = lift(CONFIG, towards_green, tmp_path, seed=3)
    loaded = load_field(tmp_path / "ckpts" / "last.ckpt", CONFIG)
    points = torch.rand(50, 3, generator=torch.Generator().manual_seed(0)) - 0.5
    assert all(torch.equal(a, b) for a, b in zip(loaded(points), field(points), strict=True))


def test_scalars_can_be_read_back(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    losses = []

    def kept(*arguments):
        losses.append(towards_green(*arguments))
        return losses[-1]

    lift(small_config(loss=LossConfig(fog=0.5)), kept, tmp_path, seed=3)
    events = EventAccumulator(str(tmp_path / "tb_logs"))
    events.Reload()
    assert set(events.Tags()["scalars"]) == {"train/loss", "train/guidance", "train/fog"}
    guidance, fog, loss = (events.Scalars(f"train/{name}") for name in ("guidance", "fog", "loss"))
    assert [event.step for event in guidance] == list(range(1, 13))
    assert [event.value for event in guidance] == pytest.approx([float(value.detach()) for value in losses])
    expected = [g.value + 0.5 * f.value for g, f in zip(guidance, fog, strict=True)]
    assert [event.value for event in loss] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("at,kept", [(2, None), (7, 5)])
def test_a_loss_that_is_not_finite_stops_with_the_step_and_keeps_the_checkpoint(tmp_path, whole, at, kept):
    def broken(rgb, cameras, progress, *_):
        return rgb.mean() * (float("nan") if round(progress * 12) == at else 1.0)

    with pytest.raises(UserError, match=f"not finite at step {at};") as caught:
        lift(CONFIG, broken, tmp_path, seed=3)
    line, path = str(caught.value), tmp_path / "ckpts" / "last.ckpt"
    assert "\n" not in line and "system.optimizer.lr" in line
    if kept is None:
        assert not path.exists() and "no checkpoint" in line
    else:
        assert str(path) in line and checkpoint_of(tmp_path)["step"] == kept
        assert all(v.isfinite().all() for v in checkpoint_of(tmp_path)["field"].values())


@pytest.fixture
def checkpoint(tmp_path):
    lift(CONFIG, towards_green, tmp_path, seed=3)
    return tmp_path / "ckpts" / "last.ckpt"


class NanGradient(torch.autograd.Function):
    """The identity, whose gradient is not a number: as half precision may give where the loss is fine."""

    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        return gradient * float("nan")


def test_a_gradient_that_is_not_finite_leaves_a_state_that_goes_on_at_a_lower_rate(tmp_path):
    path = tmp_path / "ckpts" / "last.ckpt"

    def broken(rgb, cameras, progress, *rest):
        loss = towards_green(rgb, cameras, progress, *rest)
        return NanGradient.apply(loss) if round(progress * 12) == 7 else loss

    with pytest.raises(UserError, match=f"the gradient is not finite at step 7; {path} keeps the last good state"):
        lift(CONFIG, broken, tmp_path, seed=3)
    kept = checkpoint_of(tmp_path)
    assert kept["step"] == 5 and all(value.isfinite().all() for value in kept["field"].values())
    lower = replace(CONFIG, optimizer=replace(CONFIG.optimizer, lr=0.02, mlp_lr=0.001, decay_from=1.0))
    lift(lower, towards_green, tmp_path, seed=3, resume=path)
    rates = [group["lr"] for group in checkpoint_of(tmp_path)["optimizer"]["param_groups"]]
    assert rates == [0.02, 0.001]


def test_a_state_that_is_not_finite_is_never_written(tmp_path):
    wild = replace(CONFIG, checkpoint_every=1, optimizer=replace(CONFIG.optimizer, lr=float("inf")))
    with pytest.raises(UserError, match="the field is not finite at step 1; no checkpoint was due yet"):
        lift(wild, towards_green, tmp_path, seed=3)
    assert not list((tmp_path / "ckpts").glob("*"))


def test_a_checkpoint_with_numbers_that_are_not_finite_is_damaged(tmp_path, checkpoint):
    state = checkpoint_of(tmp_path)
    state["field"]["grids.0"][0, 0, 0, 0, 0] = float("nan")
    torch.save(state, checkpoint)
    with pytest.raises(DamagedCheckpoint, match="not finite"):
        load_field(checkpoint, CONFIG)
    assert last_readable(checkpoint) == checkpoint.with_name(PREVIOUS)


def test_a_checkpoint_that_says_it_is_larger_than_it_is_is_damaged(tmp_path, checkpoint):
    state = checkpoint_of(tmp_path)
    state["field"]["grids.0"] = torch.zeros(1).expand(10**4, 10**4, 10**4)
    torch.save(state, checkpoint)
    with pytest.raises(DamagedCheckpoint, match="more than it does"):
        load_field(checkpoint, CONFIG)


def test_a_checkpoint_of_another_asset_is_refused(tmp_path):
    asset = Lift(towards_green, tmp_path, 3, identity={"draw": "a", "backbone": "b"})
    lift_together(CONFIG, [asset], one_by_one)
    again = replace(asset, resume=asset.checkpoint)
    (field,) = lift_together(CONFIG, [again], one_by_one)
    assert same(dict(field.state_dict()), checkpoint_of(tmp_path)["field"])
    (error,) = lift_together(CONFIG, [replace(again, identity={"draw": "c", "backbone": "b"})], one_by_one)
    assert isinstance(error, UserError) and f"{asset.checkpoint} is of another asset: another draw." in str(error)
    with pytest.raises(UserError, match="another draw and another backbone"):
        load_field(asset.checkpoint, CONFIG, identity={"draw": "c", "backbone": "d"})
    load_field(asset.checkpoint, CONFIG)


def test_a_checkpoint_of_an_earlier_version_names_no_asset_and_goes_on(tmp_path, checkpoint):
    state = checkpoint_of(tmp_path)
    del state["identity"]
    torch.save(state, checkpoint)
    load_field(checkpoint, CONFIG, identity={"draw": "a"})


class Untrusted:
    def __reduce__(self):
        return os.mkdir, ("pwned",)


def damage(path, how):
    content = path.read_bytes()
    if how == "pickle":
        torch.save({"step": Untrusted()}, path)
    elif how == "another file":
        torch.save({"weights": torch.zeros(3)}, path)
    else:
        path.write_bytes({"half": content[: len(content) // 2], "empty": b"", "text": b"hello"}[how])


@pytest.mark.parametrize("how", ["half", "empty", "text", "pickle", "another file"])
def test_a_damaged_checkpoint_is_one_line(checkpoint, monkeypatch, how):
    monkeypatch.chdir(checkpoint.parent)
    damage(checkpoint, how)
    for call in (lambda: lift(CONFIG, towards_green, checkpoint.parents[1], 3, resume=checkpoint),
                 lambda: load_field(checkpoint, CONFIG)):  # fmt: skip
        with pytest.raises(UserError, match="damaged") as caught:
            call()
        assert str(checkpoint) in str(caught.value) and "\n" not in str(caught.value)
    assert not (checkpoint.parent / "pwned").exists()


@pytest.mark.parametrize(
    "changes",
    [
        {"geometry": replace(SMALL, levels=(4, 9))},
        {"geometry": replace(SMALL, levels=(4, 8, 16), level_start=(0.0, 0.5, 0.5))},
        {"geometry": replace(SMALL, hidden=16)},
        {"renderer": replace(CONFIG.renderer, occupancy_resolution=16)},
    ],
)
def test_a_checkpoint_of_another_configuration_is_one_line(checkpoint, changes):
    with pytest.raises(UserError, match="does not fit this configuration") as caught:
        load_field(checkpoint, small_config(**changes))
    assert str(checkpoint) in str(caught.value) and "\n" not in str(caught.value)


def test_a_checkpoint_that_is_not_there_is_named(tmp_path):
    with pytest.raises(UserError, match=r"nothing\.ckpt does not exist; check resume="):
        lift(CONFIG, towards_green, tmp_path, seed=0, resume=tmp_path / "nothing.ckpt")


@pytest.mark.parametrize("progress,stage", [(0.0, 0), (0.2999, 0), (0.3, 1), (0.59, 1), (0.6, 2), (0.99, 2), (1.0, 2)])
def test_resolution_stage(progress, stage):
    data = DataConfig(resolution=(8, 16, 32), batch_views=(8, 8, 4), until=(0.3, 0.6, 1.0))
    assert resolution_stage(data, progress) == stage


def test_the_guidance_sees_the_schedule(tmp_path):
    """Resolution and number of views go by stage; cameras and renders belong together; progress rises."""
    data = replace(CONFIG.data, batch_views=(8, 4), elevation_range_deg=(10.0, 12.0))
    watched = Watched()
    lift(small_config(data=data), watched, tmp_path, seed=0)
    assert [tuple(c["rgb"].shape) for c in watched.calls] == [(8, 3, 6, 6)] * 6 + [(4, 3, 8, 8)] * 6
    assert [c["progress"] for c in watched.calls] == [step / 12 for step in range(12)]
    for call in watched.calls:
        cameras = call["cameras"]
        assert len(cameras.c2w) == len(call["rgb"])
        assert ((cameras.elevation_deg >= 10) & (cameras.elevation_deg <= 12)).all() and (cameras.fov_deg == 40).all()
        assert call["rgb"].min() >= 0 and call["rgb"].max() <= 1 + 1e-5
    assert len({float(call["cameras"].azimuth_deg[0]) for call in watched.calls}) == 12


@pytest.mark.parametrize("share,colors", [(0.0, 1), (1.0, 12)])
def test_backgrounds(tmp_path, share, colors):
    """An empty field shows its background: one plain colour for all views of a step."""
    background = BackgroundConfig(color=(0.2, 0.4, 0.6), random_share=share)
    watched = Watched()
    lift(small_config(background=background, geometry=replace(SMALL, density_gain=0.0)), watched, tmp_path, seed=0)
    plain = [call["background"] for call in watched.calls]
    for call, color in zip(watched.calls, plain, strict=True):
        assert torch.equal(call["rgb"], color[:, None, None].expand_as(call["rgb"]))
    assert len({tuple(color.tolist()) for color in plain}) == colors
    if share == 0.0:
        torch.testing.assert_close(plain[0], torch.tensor([0.2, 0.4, 0.6]))


def test_learning_rates_hold_and_then_fall(tmp_path):
    """Read from the checkpoint that every step leaves behind."""
    rates = []

    def reading(*arguments):
        path = tmp_path / "ckpts" / "last.ckpt"
        if path.exists():
            rates.append([group["lr"] for group in checkpoint_of(tmp_path)["optimizer"]["param_groups"]])
        return towards_green(*arguments)

    optimizer = OptimizerConfig(lr=0.04, mlp_lr=0.002, decay_from=0.5, final_scale=0.25)
    lift(small_config(max_steps=8, checkpoint_every=1, optimizer=optimizer), reading, tmp_path, seed=0)
    rates.append([group["lr"] for group in checkpoint_of(tmp_path)["optimizer"]["param_groups"]])
    late = [0, 0, 0, 0, 0, 0.25, 0.5, 0.75]  # of the way from step 4 to step 8
    expected = [[base * (1 - 0.75 * share) for base in (0.04, 0.002)] for share in late]
    torch.testing.assert_close(torch.tensor(rates), torch.tensor(expected))


def test_a_sound_checkpoint_is_not_called_damaged_for_want_of_memory(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def starve(*_: object, **__: object) -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes")

    monkeypatch.setattr(torch, "load", starve)
    with pytest.raises(RuntimeError, match="can't allocate memory"):
        last_readable(checkpoint)
