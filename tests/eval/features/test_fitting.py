"""Which judges score a batch that names none."""

import json

import pytest

from dreamdist3d.cli import main
from dreamdist3d.cli.report import judges_of_batch
from dreamdist3d.errors import UserError
from dreamdist3d.eval.features import clip, timm_vit
from dreamdist3d.eval.features.catalogue import fitting_features


@pytest.fixture
def at_hand(monkeypatch, tmp_path):
    """A function that says which published weights can be had."""

    def only(*repositories):
        def hub_file(repository, name, purpose, remedy):
            if not any(part in repository for part in repositories):
                raise UserError("not had")
            (tmp_path / "weights").touch()
            return tmp_path / "weights"

        for module in (clip, timm_vit):
            monkeypatch.setattr(module, "hub_file", hub_file)

    return only


@pytest.mark.parametrize("backbone", ["mini", "changed"])
def test_the_miniature_has_its_own_judges(at_hand, backbone, tmp_path):
    at_hand("dino", "clip")
    if backbone == "changed":
        record = {"format": "dreamdist3d-adapted-1", "base": "mini", "base_sha256": "0" * 64, "kind": "lora"}
        (tmp_path / "adapted.json").write_text(json.dumps(record))
        backbone = str(tmp_path)
    assert fitting_features(backbone) == (["mini"], None)


def test_everything_else_has_the_published_ones(at_hand, capsys):
    at_hand("dino", "clip")
    assert judges_of_batch("mvdream", None) == ["dino_vits16", "clip_vitb32"]
    assert capsys.readouterr().err == ""


def test_one_that_is_missing_is_told(at_hand, capsys):
    at_hand("clip")
    assert judges_of_batch("mvdream", None) == ["clip_vitb32"]
    assert capsys.readouterr().err == "warning: the weights of dino_vits16 cannot be had: scored without it.\n"


def test_the_miniatures_judges_come_with_a_warning(at_hand, capsys):
    at_hand()
    assert judges_of_batch("/models/mine", None) == ["mini"]
    warning = capsys.readouterr().err
    assert warning.startswith("warning: ") and warning.count("\n") == 1
    assert "say little of /models/mine's assets" in warning and "evaluate FOLDER --features" in warning


def test_what_is_asked_for_and_cannot_be_had_ends_a_batch_before_its_work(at_hand, tmp_path, capsys):
    at_hand()
    words = ["batch", "--config", "dreamdist3d/mini.yaml", "--runs", "2", "--out", str(tmp_path / "batch")]
    words.append("system.prompt_processor.prompt=a cube")
    for features, said in (("hope", "no features 'hope'"), ("dinov2", "not had")):
        assert main([*words, "--features", features]) == 2
        assert said in capsys.readouterr().err
    assert not (tmp_path / "batch").exists()
    assert judges_of_batch("mvdream", ["mini", "lpips"]) == ["mini", "lpips"]
