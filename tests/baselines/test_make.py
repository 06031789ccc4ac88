"""Every baseline from a folder of pictures to what sampling and lifting take: stopped, resumed, repeated."""

import json
import os
import signal
from functools import partial
from pathlib import Path

import pytest
import torch

from dreamdist3d.backbones import load_backbone
from dreamdist3d.baselines import BaselineConfig, make_baseline, prior
from dreamdist3d.baselines.settings import METHODS, TUNED, USED
from dreamdist3d.baselines.words import words_source
from dreamdist3d.cli import main
from dreamdist3d.errors import Stopped, UserError
from dreamdist3d.prompts import SoftPromptEncoder, load_distribution, load_references
from dreamdist3d.prompts.looks.pictures import Sampling
from tests.prompts.tiny import TinyBackbone, write_pictures

SMALL = {"steps": 4, "batch": 2, "prior": 3, "rank": 2, "tokens": 2, "copies": 5}


def config(method, **values):
    words = {"words": ("cat",)} if "words" in USED[method] else {}
    return BaselineConfig(method, **{key: v for key, v in SMALL.items() if key in USED[method]} | words | values)


@pytest.fixture(scope="session")
def pictures(tmp_path_factory):
    return write_pictures(tmp_path_factory.mktemp("references"), 3)


@pytest.fixture(autouse=True)
def few_steps(monkeypatch):
    """Class pictures of two steps of sampling."""
    monkeypatch.setattr(prior, "Sampling", partial(Sampling, steps=2))


@pytest.fixture
def make(tiny_backbone, pictures):
    """A function that makes a baseline from the tiny backbone, loaded anew."""

    def run(method, folder, restart=False, prepare=lambda backbone: None, **values):
        backbone = load_backbone(str(tiny_backbone))
        prepare(backbone)
        return make_baseline(backbone, load_references(pictures, 16), config(method, **values), folder, restart)

    return run


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def stopping_at(call):
    """The process gets Ctrl-C during the `call`-th prediction with gradients."""

    def prepare(backbone):
        predict, calls = backbone.predict, []

        def interrupted(*arguments, **named):
            calls.append(torch.is_grad_enabled())
            if sum(calls) == call and calls[-1]:
                os.kill(os.getpid(), signal.SIGINT)
            return predict(*arguments, **named)

        backbone.predict = interrupted

    return prepare


@pytest.mark.parametrize("method", [method for method in METHODS if method not in ("words", "ip-adapter")])
def test_interrupted_and_resumed_equals_uninterrupted(make, tmp_path, method, monkeypatch):
    # The same path for both: a changed backbone's prompts name it.
    folder = tmp_path / "made"
    make(method, folder)
    whole = contents(folder)
    folder.rename(tmp_path / "whole")
    with pytest.raises(Stopped, match="step 2 of 4"):
        make(method, folder, prepare=stopping_at(2))
    assert json.loads((folder / "baseline.json").read_text())["state"] == "begun"
    made = make(method, folder)
    assert contents(folder) == whole
    assert not any(name.endswith(".ckpt") for name in whole)
    assert (made.backbone == str(folder / "backbone")) == (method in TUNED)
    draws_fit(made)


def test_words_need_no_learning(make, tmp_path):
    made = make("words", tmp_path / "made", words=("a cat", "a red dog"))
    draws_fit(made)
    assert contents(tmp_path / "made").keys() == {"baseline.json", "prompts.safetensors"}


def test_pictures_beside_a_prompt_change_what_the_unet_makes_of_it(tmp_path):
    """Of the miniature, for which an apprentice ships; without them the prompt is its words'."""
    backbone = load_backbone("mini")
    shown = load_references(write_pictures(tmp_path / "shown", 5), 64)
    made = make_baseline(backbone, shown, config("ip-adapter"), tmp_path / "made")
    source, plain = load_distribution(made.prompts), words_source(backbone, ["cat"], {})
    encoder = SoftPromptEncoder(backbone.tokenizer, backbone.text_encoder)
    bare = encoder.encode_text(["cat"]).hidden[0]
    assert source.references.shape[0] == 64 and torch.equal(source.tokens, plain.tokens)
    given = source.embed(source.draw(3), encoder)
    assert torch.equal(given[: len(bare)], bare) and len(given) == len(bare) + 64
    with pytest.raises(UserError, match="no apprentice ships for"):
        make_baseline(TinyBackbone(tmp_path / "tiny"), shown, config("ip-adapter"), tmp_path / "other")


def draws_fit(made):
    backbone, source = load_backbone(made.backbone), load_distribution(made.prompts)
    source.check_model(backbone)
    encoder = SoftPromptEncoder(backbone.tokenizer, backbone.text_encoder)
    assert source.embed(source.draw(1), encoder).shape == (16, 16)
    assert source.metadata["backbone"] == backbone.source


def test_prompts_of_a_changed_model_are_refused_by_any_other(make, tmp_path, tiny_backbone):
    made = make("custom-diffusion", tmp_path / "made")
    with pytest.raises(UserError, match=r"belong to a changed model .*system.backbone="):
        load_distribution(made.prompts).check_model(load_backbone(str(tiny_backbone)))


def test_a_finished_baseline_is_left_alone_and_another_refused(make, tmp_path):
    made = make("textual-inversion-each", tmp_path / "made")
    before = made.prompts.stat().st_mtime_ns
    assert make("textual-inversion-each", tmp_path / "made") == made and made.prompts.stat().st_mtime_ns == before
    for method, values, named in (
        ("textual-inversion-each", {"lr": 0.5}, r"lr \(0.001\)"),
        ("textual-inversion", {}, r"method \('textual-inversion-each'\)"),
    ):
        with pytest.raises(UserError, match=rf"holds another baseline: .*{named}.* differ.*--restart"):
            make(method, tmp_path / "made", **values)
    make("textual-inversion", tmp_path / "made", restart=True)
    assert json.loads((tmp_path / "made" / "baseline.json").read_text())["method"] == "textual-inversion"


def test_other_references_are_another_baseline(make, tmp_path, tiny_backbone):
    make("textual-inversion", tmp_path / "made")
    others = load_references(write_pictures(tmp_path / "others", 4), 16)
    with pytest.raises(UserError, match="references_sha256"):
        make_baseline(load_backbone(str(tiny_backbone)), others, config("textual-inversion"), tmp_path / "made")


def test_restart_removes_nothing_that_is_not_its_own(make, tmp_path):
    made = make("dreambooth-lora", tmp_path / "made")
    (tmp_path / "made" / "notes.txt").write_text("mine")
    make("words", tmp_path / "made", restart=True)
    assert sorted(path.name for path in made.prompts.parent.iterdir()) == [
        "baseline.json",
        "notes.txt",
        "prompts.safetensors",
    ]


def test_restart_leaves_a_folder_alone_that_is_no_baselines(make, tmp_path):
    mine = tmp_path / "mine" / "class" / "photo.png"
    mine.parent.mkdir(parents=True)
    mine.write_bytes(b"mine")
    make("words", tmp_path / "mine", restart=True)
    assert mine.read_bytes() == b"mine"


def test_without_prior_preservation_no_class_picture_is_made(make, tmp_path):
    make("dreambooth-lora", tmp_path / "made", prior=0)
    assert not (tmp_path / "made" / "class").exists()


def test_class_pictures_are_made_once_and_again_where_one_is_gone(make, tmp_path):
    with pytest.raises(Stopped):
        make("custom-diffusion", tmp_path / "made", prepare=stopping_at(1))
    pictures = contents(tmp_path / "made" / "class")
    assert len(pictures) == 3
    (tmp_path / "made" / "class" / "0001.png").unlink()
    make("custom-diffusion", tmp_path / "made")
    assert contents(tmp_path / "made" / "class") == pictures


def test_noise_is_as_strong_as_asked(make, tmp_path):
    made = make("textual-inversion-noise", tmp_path / "made", noise=0.25, copies=64)
    plain = load_distribution(tmp_path / "made" / "inversion.safetensors").tokens
    copies = torch.stack([component.tokens for component in load_distribution(made.prompts).components])
    assert float((copies - plain).std() / plain.std()) == pytest.approx(0.25, rel=0.05)
    assert float((copies - plain).mean() / plain.std()) == pytest.approx(0.0, abs=0.02)


def test_the_command_samples_and_lifts(tmp_path, tiny_backbone, tiny_run, pictures, capsys, small_pictures):
    out, prompts = tmp_path / "lora", tmp_path / "lora" / "prompts.safetensors"
    words = ["baseline", "dreambooth-lora", str(pictures), "--out", str(out), "--backbone", str(tiny_backbone)]
    settings = ["--words", "cat", "--steps", "2", "--batch", "2", "--prior", "2", "--rank", "2"]
    assert main([*words, *settings]) == 0
    assert capsys.readouterr().out.split() == [str(prompts), f"system.backbone={out / 'backbone'}"]
    assert main(["sample", str(prompts), "-n", "2", "--steps", "2", "--out", str(tmp_path / "grid.png")]) == 0
    run = ["launch", "--config", "dreamdist3d/mini.yaml", *tiny_run, f"exp_root_dir={tmp_path / 'runs'}"]
    run.append(f"system.prompt_processor.distribution={prompts}")
    assert main(run) == 2
    assert "belong to a changed model" in capsys.readouterr().err
    assert main([*run, f"system.backbone={out / 'backbone'}"]) == 0
    (record,) = (tmp_path / "runs").rglob("run.json")
    backbone = load_backbone(str(out / "backbone"))
    assert json.loads(record.read_text())["backbone"]["weights_sha256"] == backbone.identity


def test_mistakes_are_one_line(tmp_path, tiny_backbone, capsys):
    for words, said in (
        (["dreambooth", "--words", "cat"], "dreambooth learns from pictures"),
        (["dreambooth"], "needs the class of the pictures"),
        (["words", "--words", "a cat", "--steps", "3"], "steps means nothing to words"),
        (["textual-inversion", str(tmp_path / "nowhere")], "does not exist"),
    ):
        assert main(["baseline", *words, "--out", str(tmp_path / "out"), "--backbone", str(tiny_backbone)]) == 2
        error = capsys.readouterr().err
        assert said in error and error.count("\n") == 1
