"""The commands, from folders of pictures to an instant distribution."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from dreamdist3d.cli import main
from dreamdist3d.prompts import PromptDistribution


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    folder, rng = tmp_path_factory.mktemp("subjects"), np.random.default_rng(0)
    for number in range(10):
        color = rng.integers(256, size=3)
        (folder / f"{number}").mkdir()
        for index in range(4):
            pixels = np.clip(rng.normal(color, 30, (16, 16, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / f"{number}" / f"{index}.png")
            (folder / f"{number}" / f"{index}.txt").write_text("a photo of a cat\n")
    return folder


def test_the_whole_pipeline(tiny_backbone, source, tmp_path, capsys):
    work, out = tmp_path / "work", tmp_path / "x.safetensors"

    def run(*words: object) -> str:
        assert main([str(word) for word in words]) == 0
        return "".join(capsys.readouterr())

    mine = ("apprentice", "mine", work, "--folders", source, "--backbone", tiny_backbone, "--similar", -1, 1.1)
    said = run(*mine, "--prefixes", "a red", "--device", "cpu")
    assert "train: 9 clusters" in said and "known: 1 clusters" in said
    assert "train: 9 clusters" in run(*mine, "--prefixes", "a red", "--device", "cpu")  # again, with nothing to do
    said = run("apprentice", "teach", work, "--experts", 2, "--prompts", 2, "--steps", 2, "--batch", 4,
               "--pictures", 2, "--least-delta", -9, "--device", "cpu")  # fmt: skip
    assert "2 experts, 4 of 4 pictures kept" in said
    run("apprentice", "train", work, "--steps", 2, "--details-steps", 1, "--width", 16, "--tokens", 2,
        "--least-delta", -9, "--device", "cpu")  # fmt: skip
    assert "| known |" in run("apprentice", "evaluate", work, "--device", "cpu")
    assert set(json.loads((work / "evaluation.json").read_text())) == {"known"}
    run("learn", source / "3", "--out", out, "--backbone", tiny_backbone, "--instant", "--device", "cpu",
        "--apprentice", work / "apprentice.safetensors", "--prefix", "a photo of", "--details")  # fmt: skip
    made = PromptDistribution.load(out)
    assert made.metadata["objective"] == "instant"
    assert 0 < float(made.metadata["knownness"]) <= 1
    run("sample", out, "--out", tmp_path / "grid.png", "-n", 2, "--steps", 2, "--device", "cpu")


def test_pictures_it_does_not_know_are_learned_from_its_guess(
    backbone, bank, trained, tiny_backbone, source, tmp_path, capsys, monkeypatch
):
    from dreamdist3d.apprentice.knownness import calibrated

    calibrated(trained, backbone, bank).save(tmp_path / "a.safetensors")
    monkeypatch.setattr("dreamdist3d.apprentice.knownness.LEAST", 2.0)
    words = ["learn", str(source / "3"), "--out", str(tmp_path / "x.safetensors"), "--backbone", str(tiny_backbone)]
    words += ["--device", "cpu", "--steps", "2", "--batch", "2"]
    assert main([*words, "--instant", "--apprentice", str(tmp_path / "a.safetensors")]) == 0
    assert "such pictures are new to the apprentice" in capsys.readouterr().err
    made = PromptDistribution.load(tmp_path / "x.safetensors")
    assert (made.metadata["objective"], made.metadata["steps"]) == ("coupled", "2")
    assert made.tokens.shape == (32, 2, 16)
    assert "knownness" in made.metadata and "begun_from_sha256" in made.metadata


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--instant", "--from", "x.safetensors"], "leave --from out"),
        (["--instant", "--covariance", "diagonal"], "leave --objective and --covariance out"),
        (["--details"], "give --instant too"),
        (["--instant"], "no apprentice ships for"),
        (["--from", "none.safetensors"], "does not exist"),
    ],
)
def test_what_does_not_go_together_is_told_in_one_line(
    words, said, tiny_backbone, source, tmp_path, capsys, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    PromptDistribution(torch.zeros(2, 2, 16), "low_rank", "fp16-0").save(tmp_path / "x.safetensors")
    code = main(["learn", str(source / "3"), "--out", "y.safetensors", "--backbone", str(tiny_backbone), *words])
    error = capsys.readouterr().err
    assert code == 2 and said in error and error.count("\n") == 1
    assert not (tmp_path / "y.safetensors").exists()


def test_stages_out_of_order_are_told(tmp_path, capsys):
    for stage in ("teach", "train", "evaluate"):
        assert main(["apprentice", stage, str(tmp_path)]) == 2
        assert "run `dreamdist3d apprentice mine` first" in capsys.readouterr().err
