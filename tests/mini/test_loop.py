"""The training loop: it repeats itself, stops, goes on, and keeps a true average."""

import json
import math
import os
import signal

import pytest
import torch

from dreamdist3d.errors import Stopped, UserError
from dreamdist3d.mini.loop import run_stage
from tests.mini.tiny import linear_stage


def weights_of(stage):
    return {f"{name}.{key}": v.clone() for name, m in stage.models.items() for key, v in m.state_dict().items()}


def checkpoint_of(folder):
    return torch.load(folder / "tiny.ckpt", weights_only=True)


def equal(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def made(folder):
    folder.mkdir()
    return folder


def log_of(folder):
    return [json.loads(line) for line in (folder / "tiny.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder, stage = tmp_path_factory.mktemp("whole"), linear_stage()
    run_stage(stage, folder, seed=1)
    return weights_of(stage), checkpoint_of(folder)


def stopping_at(step, number=signal.SIGINT):
    return lambda now, model: os.kill(os.getpid(), number) if now == step else None


@pytest.mark.parametrize("at,number", [(0, signal.SIGINT), (4, signal.SIGTERM), (8, signal.SIGINT)])
def test_interrupted_and_resumed_equals_uninterrupted(tmp_path, whole, at, number):
    # The signal comes inside step `at` (counted from 0); the loop asks once a step and stops after the next.
    with pytest.raises(Stopped, match=rf"tiny stopped at step {at + 2}; the same command goes on"):
        run_stage(linear_stage(act=stopping_at(at, number)), tmp_path, seed=1)
    assert checkpoint_of(tmp_path)["step"] == at + 2
    done = []
    resumed = linear_stage(act=lambda step, model: done.append(step))
    run_stage(resumed, tmp_path, seed=1)
    assert len(done) == 10 - at - 2
    assert equal(weights_of(resumed), whole[0])
    for name, moments in checkpoint_of(tmp_path)["optimizer"]["state"].items():
        assert equal(moments, whole[1]["optimizer"]["state"][name])


def test_a_finished_stage_holds_its_average_without_training(tmp_path, whole):
    run_stage(linear_stage(), tmp_path, seed=1)
    again = linear_stage(act=lambda step, model: pytest.fail("a step was taken"))
    run_stage(again, tmp_path, seed=1)
    assert equal(weights_of(again), whole[0])


def test_the_seed_decides_and_the_global_one_does_not(tmp_path, whole):
    torch.manual_seed(99)
    for seed in (1, 2):
        stage = linear_stage()
        run_stage(stage, made(tmp_path / str(seed)), seed=seed)
        assert equal(weights_of(stage), whole[0]) == (seed == 1)


def test_it_learns(tmp_path):
    stage = linear_stage(steps=300)
    run_stage(stage, tmp_path, seed=1)
    total = stage.models["linear"].weight + stage.models["slow"].weight
    torch.testing.assert_close(total.detach(), torch.tensor([[2.0, -1.0]]), atol=0.1, rtol=0)
    log = log_of(tmp_path)
    assert [entry["step"] for entry in log] == list(range(20, 301, 20))
    assert log[-1]["loss"] < 0.1 * log[0]["loss"] and log[0].keys() == {"step", "time", "loss", "error", "gradient"}


def trajectory(tmp_path, **settings):
    """The raw weights before every step and after the last one, and the stage."""
    raw = []
    stage = linear_stage(act=lambda step, models: raw.append(weights_of(stage)), **settings)
    run_stage(stage, tmp_path, seed=1)
    models = checkpoint_of(tmp_path)["models"]
    raw.append({f"{name}.{key}": value for name, state in models.items() for key, value in state.items()})
    return raw, stage


def test_the_average_is_the_ramped_exponential_one(tmp_path):
    raw, stage = trajectory(tmp_path, ema_decay=0.4)
    average = {name: value.double() for name, value in raw[0].items()}
    for n, weights in enumerate(raw[1:], start=1):
        decay = min(0.4, (1 + n) / (10 + n))
        average = {name: decay * average[name] + (1 - decay) * weights[name].double() for name in average}
    for name, value in weights_of(stage).items():
        torch.testing.assert_close(value.double(), average[name], atol=1e-6, rtol=1e-6)
    assert not equal(weights_of(stage), raw[-1])


def test_without_an_average_the_models_hold_the_last_weights(tmp_path):
    raw, stage = trajectory(tmp_path, ema_decay=None)
    assert equal(weights_of(stage), raw[-1])


def test_the_steps_are_adamw_with_warm_up_cosine_and_clipped_gradients(tmp_path):
    raw, stage = trajectory(tmp_path, weight_decay=0.1, ema_decay=None)
    reference = linear_stage(ema_decay=None)
    for n, (before, after) in enumerate(zip(raw[:-1], raw[1:], strict=True)):
        for name, model in reference.models.items():
            model.load_state_dict({key: before[f"{name}.{key}"] for key in model.state_dict()})
        if n == 0:
            groups = [{"params": list(model.parameters())} for model in reference.models.values()]
            optimizer = torch.optim.AdamW(groups, lr=1.0, betas=(0.9, 0.99), weight_decay=0.1, fused=False)
        cosine = 0.02 + 0.98 * (1 + math.cos(math.pi * (n - 3) / 7)) / 2
        rate = 0.05 * ((n + 1) / 3 if n < 3 else cosine)
        for group, scale in zip(optimizer.param_groups, (1.0, 0.25), strict=True):
            group["lr"] = rate * scale
        optimizer.zero_grad()
        reference.losses["loss"][1](torch.Generator().manual_seed((1_000_003 + n) * 64))["loss"].backward()
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        norm = torch.cat([p.grad.flatten() for p in parameters]).norm()
        for p in parameters:
            p.grad.mul_(min(1.0, 1.0 / float(norm + 1e-6)))
        optimizer.step()
        for name, value in weights_of(reference).items():
            torch.testing.assert_close(value, after[name], atol=1e-6, rtol=1e-5)


def test_checkpoints_show_the_average_and_training_goes_on_with_the_raw_weights(tmp_path):
    raw, shown = [], []
    stage = linear_stage(
        act=lambda step, models: raw.append(weights_of(stage)),
        on_checkpoint=lambda step: shown.append((step, weights_of(stage))),
    )
    run_stage(stage, made(tmp_path / "often"), seed=1, checkpoint_seconds=-1.0)
    assert [step for step, _ in shown] == list(range(1, 11))
    assert not equal(shown[3][1], raw[4])
    assert equal(shown[-1][1], weights_of(stage))
    plain, _ = trajectory(made(tmp_path / "once"))
    assert all(equal(a, b) for a, b in zip(raw, plain[:-1], strict=True))


@pytest.mark.parametrize("kept", ["loss", "root"])
def test_kinds_of_step_are_drawn_by_their_shares_and_the_same_again(tmp_path, kept):
    """The two kinds count themselves; a resumed run draws as the first did."""

    def run(folder):
        stage, seen = linear_stage(steps=200), []
        loss = stage.losses["loss"][1]
        stage.losses = {name: (share, lambda g, n=name: seen.append(n) or loss(g)) for name, share in kinds.items()}
        run_stage(stage, folder, seed=3)
        return seen

    kinds = {"loss": 0.7, "root": 0.3}
    first, again = run(made(tmp_path / "a")), run(made(tmp_path / "b"))
    assert first == again and first.count(kept) / 200 == pytest.approx(kinds[kept], abs=0.1)


def test_gradients_that_are_not_finite_stop_too(tmp_path):
    def act(step, model):
        if step == 4:
            model["linear"].bias.register_hook(lambda gradient: gradient * math.nan)

    with pytest.raises(UserError, match=r"tiny: the gradient is not finite at step 4; .*tiny\.ckpt keeps"):
        run_stage(linear_stage(act=act), tmp_path, seed=1, checkpoint_seconds=0.0)
    state = checkpoint_of(tmp_path)
    assert state["step"] == 4 and all(v.isfinite().all() for m in state["models"].values() for v in m.values())


def test_a_loss_that_is_not_finite_stops_and_keeps_the_checkpoint(tmp_path):
    with pytest.raises(Stopped):
        run_stage(linear_stage(act=stopping_at(3)), tmp_path, seed=1)
    broken = linear_stage(act=lambda step, model: float("nan") if step == 2 else None)
    with pytest.raises(UserError, match=r"tiny: the loss is not finite at step 7; .*tiny\.ckpt keeps") as caught:
        run_stage(broken, tmp_path, seed=1)
    assert "\n" not in str(caught.value) and checkpoint_of(tmp_path)["step"] == 5
