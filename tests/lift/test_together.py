"""Several assets lifted in step: each takes the steps it would take alone, and dies alone."""

import os
import signal

import pytest
import torch

from dreamdist3d.errors import Stopped, UserError
from dreamdist3d.lift.checkpoints import PREVIOUS, last_readable, read_checkpoint
from dreamdist3d.lift.optimize import Lift, lift, lift_together
from tests.lift.fakes import small_config

CONFIG = small_config()
COLORS = ((0.9, 0.1, 0.1), (0.1, 0.1, 0.9), (0.2, 0.8, 0.3))


def towards(color):
    """A guidance for one asset: all pictures of this colour, give or take a noise that the generator draws."""

    def guidance(rgb, cameras, progress, generator, background):
        wanted = torch.tensor(color)[:, None, None] + 0.05 * torch.randn(rgb.shape, generator=generator)
        return (rgb - wanted).square().mean()

    return guidance


def one_by_one(guidances, renders):
    return [g(r.rgb, r.cameras, r.progress, r.generator, r.background) for g, r in zip(guidances, renders, strict=True)]


def assets_in(folder, resume=False):
    made = [Lift(towards(color), folder / str(i), seed=i) for i, color in enumerate(COLORS)]
    return [Lift(a.guidance, a.folder, a.seed, a.checkpoint) for a in made] if resume else made


def assert_same(field, other):
    torch.testing.assert_close(dict(field.state_dict()), dict(other.state_dict()), rtol=0, atol=0)


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """Each asset's field, lifted by itself."""
    folder = tmp_path_factory.mktemp("alone")
    return [lift(CONFIG, towards(color), folder / str(i), seed=i) for i, color in enumerate(COLORS)]


def test_fields_equal_those_lifted_alone(tmp_path, alone):
    for together, single in zip(lift_together(CONFIG, assets_in(tmp_path), one_by_one), alone, strict=True):
        assert_same(together, single)


def test_one_that_fails_leaves_the_others_alone(tmp_path, alone):
    def breaking(guidances, renders):
        losses = one_by_one(guidances, renders)
        return [loss * float("nan") if g is bad and r.progress > 0.5 else loss
                for g, r, loss in zip(guidances, renders, losses, strict=True)]  # fmt: skip

    assets = assets_in(tmp_path)
    bad = assets[1].guidance
    first, failed, last = lift_together(CONFIG, assets, breaking)
    assert isinstance(failed, UserError) and "not finite at step 7" in str(failed) and "1/ckpts" in str(failed)
    assert_same(first, alone[0])
    assert_same(last, alone[2])


def test_stopped_together_goes_on_together(tmp_path, alone):
    def stopping(guidances, renders):
        if renders[0].progress == 7 / 12:
            os.kill(os.getpid(), signal.SIGTERM)
        return one_by_one(guidances, renders)

    with pytest.raises(Stopped, match="step 8 of 12; 3 runs"):
        lift_together(CONFIG, assets_in(tmp_path), stopping)
    resumed = lift_together(CONFIG, assets_in(tmp_path, resume=True), one_by_one)
    for together, single in zip(resumed, alone, strict=True):
        assert_same(together, single)


def test_one_that_is_behind_catches_up_first(tmp_path, alone):
    """A kill between two checkpoints leaves them at different steps."""
    lift_together(CONFIG, assets_in(tmp_path), one_by_one)
    assets = assets_in(tmp_path, resume=True)
    older = assets[2].checkpoint.with_name(PREVIOUS)
    seen = []

    def watching(guidances, renders):
        seen.append(len(guidances))
        return one_by_one(guidances, renders)

    behind = Lift(assets[2].guidance, assets[2].folder, 2, older)
    fields = lift_together(CONFIG, [*assets[:2], behind], watching)
    assert seen == [1, 1]
    for together, single in zip(fields, alone, strict=True):
        assert_same(together, single)


def test_steps_are_told(tmp_path):
    told = []
    lift(CONFIG, towards(COLORS[0]), tmp_path, seed=0, on_step=told.append)
    assert told == list(range(1, 13))


def flip_bits(path):
    """In a block of a disk; the archive pads its tensors, so a single byte might be one that nobody reads."""
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 512] = bytes(byte ^ 0x01 for byte in content[middle : middle + 512])
    path.write_bytes(content)


@pytest.mark.parametrize("damage", [flip_bits, lambda path: path.write_bytes(b""), lambda path: path.unlink()])
def test_behind_a_damaged_checkpoint_stands_the_one_before(tmp_path, alone, damage):
    asset = assets_in(tmp_path)[0]
    lift(CONFIG, asset.guidance, asset.folder, seed=0)
    assert read_checkpoint(asset.checkpoint)["step"] == 12
    damage(asset.checkpoint)
    readable = last_readable(asset.checkpoint)
    assert read_checkpoint(readable)["step"] == 10
    assert_same(lift(CONFIG, asset.guidance, asset.folder, 0, resume=readable), alone[0])


def test_of_two_damaged_checkpoints_none_is_readable(tmp_path):
    for name in ("last.ckpt", PREVIOUS):
        (tmp_path / name).write_bytes(b"PK")
    assert last_readable(tmp_path / "last.ckpt") is None


def test_a_full_disk_keeps_the_last_checkpoint(tmp_path, monkeypatch):
    asset, writes = assets_in(tmp_path)[0], []
    replace = os.replace

    def full(source, target):
        writes.append(target)
        if len(writes) > 2:  # the first checkpoint takes two renames
            raise OSError(28, "No space left on device")
        replace(source, target)

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(UserError, match="No space left"):
        lift(CONFIG, asset.guidance, asset.folder, seed=0)
    assert read_checkpoint(asset.checkpoint)["step"] == 5
    assert not list(asset.checkpoint.parent.glob(".*"))
