"""How learning stops and goes on: checkpoints, signals, and losses that are not finite."""

import os
import signal
import time
from dataclasses import replace

import pytest
import torch

from dreamdist3d.errors import Stopped, UserError
from dreamdist3d.prompts import learn, load_references
from tests.forked import script
from tests.prompts.tiny import CONFIG, PAPER, TinyBackbone, write_pictures


def stopping_at(backbone, call, number=signal.SIGINT):
    """The backbone sends its own process a signal during UNet call number `call`."""
    predict = backbone.predict

    def interrupted(*arguments, **named):
        if len(backbone.calls) == call:
            os.kill(os.getpid(), number)
        return predict(*arguments, **named)

    backbone.predict = interrupted
    return backbone


@pytest.mark.parametrize(
    "config", [CONFIG, PAPER, replace(CONFIG, batch=5, prompts=7)], ids=["coupled", "paper", "odd"]
)
@pytest.mark.parametrize("stop_at,number", [(0, signal.SIGINT), (1, signal.SIGTERM), (7, signal.SIGINT)])
def test_interrupted_and_resumed_equals_uninterrupted(tmp_path, references, out, stop_at, number, config):
    whole = tmp_path / "whole.safetensors"
    learn(TinyBackbone(tmp_path / "t"), references, config, whole)
    with pytest.raises(Stopped, match=rf"step {stop_at + 1} of 12.*the same command goes on"):
        learn(stopping_at(TinyBackbone(tmp_path / "t"), stop_at, number), references, config, out)
    assert [p.name for p in out.parent.iterdir()] == ["d.safetensors.ckpt"]
    resumed = TinyBackbone(tmp_path / "t")
    learn(resumed, references, config, out)
    assert len(resumed.calls) == 12 - stop_at - 1
    assert out.read_bytes() == whole.read_bytes()


SCRIPT = """
import sys, time
from pathlib import Path
from dreamdist3d.errors import UserError
from dreamdist3d.prompts import LearnConfig, learn, load_references
from tests.forked import script
from tests.prompts.tiny import CONFIG, TinyBackbone

folder = Path(sys.argv[1])
backbone = TinyBackbone(folder / "tokenizer")
predict = backbone.predict
def halting(*arguments, **named):
    if len(backbone.calls) == 9:
        (folder / "halted").touch()
        while not (folder / "go on").exists():
            time.sleep(0.01)
    return predict(*arguments, **named)
backbone.predict = halting
config = LearnConfig(prompts=3, tokens=2, batch=8, steps=30, lr=1e-2, seed=5)
try:
    for out in sys.argv[2:]:
        learn(backbone, load_references(folder / "pictures", 8), config, Path(out))
        print(len(backbone.calls))
except UserError as error:
    print(error)
    sys.exit(error.exit_code)
"""


def test_a_real_process_stopped_by_ctrl_c_resumes_to_the_same_file(tmp_path):
    write_pictures(tmp_path / "pictures", 5)
    out, whole = tmp_path / "d.safetensors", tmp_path / "whole.safetensors"
    stopped = script(SCRIPT, tmp_path / "stopped", tmp_path, out)
    while not (tmp_path / "halted").exists():
        assert stopped.poll() is None, stopped.communicate()
        time.sleep(0.02)
    stopped.send_signal(signal.SIGINT)
    (tmp_path / "go on").touch()
    output, errors = stopped.communicate(timeout=120)
    assert stopped.returncode == 130 and "stopped at step 10 of 30" in output, errors
    assert "Traceback" not in errors and not out.exists()
    resumed = script(SCRIPT, tmp_path / "resumed", tmp_path, out, whole)
    assert resumed.communicate(timeout=120)[0].split() == ["20", "50"] and resumed.returncode == 0
    assert out.read_bytes() == whole.read_bytes()


def test_a_killed_process_goes_on_from_its_last_checkpoint(tmp_path, backbone, references, out):
    config = replace(CONFIG, steps=60)

    def killed(*arguments, **named):
        if len(backbone.calls) == 55:
            raise KeyboardInterrupt
        return TinyBackbone.predict(backbone, *arguments, **named)

    backbone.predict = killed
    with pytest.raises(KeyboardInterrupt):
        learn(backbone, references, config, out)
    resumed = TinyBackbone(tmp_path / "tokenizer")
    learn(resumed, references, config, out)
    assert len(resumed.calls) == 10
    learn(TinyBackbone(tmp_path / "tokenizer"), references, config, tmp_path / "whole")
    assert out.read_bytes() == (tmp_path / "whole").read_bytes()


def interrupted(tmp_path, references, out):
    with pytest.raises(Stopped):
        learn(stopping_at(TinyBackbone(tmp_path / "tokenizer"), 4), references, CONFIG, out)


def test_a_checkpoint_of_another_learning_is_refused_and_kept(tmp_path, references, out):
    interrupted(tmp_path, references, out)
    other_pictures = load_references(write_pictures(tmp_path / "others", 4), 8)
    other_encoder = TinyBackbone(tmp_path / "tokenizer")
    other_encoder.fingerprint = "e" * 64
    other_unet = TinyBackbone(tmp_path / "tokenizer")
    other_unet.identity = "another"
    backbone = TinyBackbone(tmp_path / "tokenizer")
    for arguments, named in (
        ((backbone, references, replace(CONFIG, lr=0.5, tokens=3)), r"tokens \(2\), lr \(0.01\)"),
        ((backbone, other_pictures, CONFIG), "the reference images"),
        ((other_encoder, references, CONFIG), "the text encoder"),
        ((other_unet, references, CONFIG), r"the model \(its UNet, autoencoder or noise schedule\)"),
    ):
        with pytest.raises(UserError, match=rf"{named} differ.*--restart.*--out"):
            learn(*arguments, out)
    assert backbone.calls == []
    learn(backbone, references, CONFIG, out)
    assert len(backbone.calls) == 7


def test_more_steps_go_on_to_the_same_file_as_they_would_at_once(tmp_path, references, out):
    interrupted(tmp_path, references, out)
    longer = replace(CONFIG, steps=15)
    backbone = TinyBackbone(tmp_path / "tokenizer")
    learn(backbone, references, longer, out)
    assert len(backbone.calls) == 15 - 5
    learn(TinyBackbone(tmp_path / "tokenizer"), references, longer, tmp_path / "whole")
    assert out.read_bytes() == (tmp_path / "whole").read_bytes()


def test_fewer_steps_than_are_behind_are_refused(tmp_path, references, out):
    interrupted(tmp_path, references, out)
    with pytest.raises(UserError, match=r"is at step 5, beyond --steps 4.*--restart"):
        learn(TinyBackbone(tmp_path / "tokenizer"), references, replace(CONFIG, steps=4), out)


def test_a_checkpoint_from_before_there_was_a_choice_is_the_papers(tmp_path, references, out):
    with pytest.raises(Stopped):
        learn(stopping_at(TinyBackbone(tmp_path / "tokenizer"), 4), references, PAPER, out)
    checkpoint = out.with_name("d.safetensors.ckpt")
    state = torch.load(checkpoint, weights_only=True)
    del state["config"]["objective"]
    torch.save(state, checkpoint)
    with pytest.raises(UserError, match=r"objective \('paper'\), .* differ"):
        learn(TinyBackbone(tmp_path / "tokenizer"), references, CONFIG, out)
    backbone = TinyBackbone(tmp_path / "tokenizer")
    learn(backbone, references, PAPER, out)
    assert len(backbone.calls) == 7


def test_a_checkpoint_of_an_earlier_version_goes_on(tmp_path, references, out):
    """It tells of no UNet, and calls the text encoder by an older name."""
    interrupted(tmp_path, references, out)
    path = out.with_name("d.safetensors.ckpt")
    state = torch.load(path, weights_only=True)
    del state["model"]
    backbone = TinyBackbone(tmp_path / "tokenizer")
    torch.save(state | {"encoder": backbone.earlier_fingerprint}, path)
    learn(backbone, references, CONFIG, out)
    assert len(backbone.calls) == 7


def test_restart_forgets_the_checkpoint(tmp_path, references, out):
    interrupted(tmp_path, references, out)
    backbone = TinyBackbone(tmp_path / "tokenizer")
    learn(backbone, references, replace(CONFIG, lr=0.5), out, restart=True)
    assert len(backbone.calls) == 12


@pytest.mark.parametrize("damage", [lambda b: b[: len(b) // 2], lambda b: b"", lambda b: b"hello"])
def test_a_damaged_checkpoint_is_one_line(tmp_path, references, out, damage):
    interrupted(tmp_path, references, out)
    checkpoint = out.with_name("d.safetensors.ckpt")
    checkpoint.write_bytes(damage(checkpoint.read_bytes()))
    with pytest.raises(UserError, match=r"\.ckpt cannot be read.*--restart") as caught:
        learn(TinyBackbone(tmp_path / "tokenizer"), references, CONFIG, out)
    assert "\n" not in str(caught.value)


def test_a_loss_that_is_not_finite_stops_with_the_step_and_a_good_checkpoint(tmp_path, references, out):
    backbone = TinyBackbone(tmp_path / "tokenizer")

    def broken(*arguments, **named):
        prediction = TinyBackbone.predict(backbone, *arguments, **named)
        return prediction * float("nan") if len(backbone.calls) == 6 else prediction

    backbone.predict = broken
    with pytest.raises(UserError, match=r"not finite at step 5 .*\.ckpt keeps the state before it"):
        learn(backbone, references, CONFIG, out)
    healthy = TinyBackbone(tmp_path / "tokenizer")
    learn(healthy, references, CONFIG, out)
    assert len(healthy.calls) == 12 - 5
    learn(TinyBackbone(tmp_path / "tokenizer"), references, CONFIG, tmp_path / "whole")
    assert out.read_bytes() == (tmp_path / "whole").read_bytes()
