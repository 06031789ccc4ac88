"""Data sets for classifiers: what is written, how readers see it, stops, and classes that cannot be used."""

import csv
import io
import json
import os
import signal
import tarfile
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image
from torchvision.datasets import ImageFolder

from dreamdist3d.backbones import load_backbone
from dreamdist3d.cli import main
from dreamdist3d.errors import Stopped, UserError
from dreamdist3d.prompts import SoftPromptEncoder, load_distribution
from dreamdist3d.prompts.looks.pictures import Sampling, as_image, sample_prompts
from dreamdist3d.synthetic import DatasetConfig, make, make_dataset
from dreamdist3d.synthetic.settings import noise_seed
from tests.prompts.tiny import write_pictures

CONFIG = DatasetConfig(
    per_class=5,
    gammas=(0.5, 1.0),
    suffixes=("", "at night"),
    steps=2,
    shard=4,
    learn={"steps": 2, "prompts": 3, "tokens": 2, "batch": 2, "samples": 1},
)


@pytest.fixture(scope="session")
def classes(tmp_path_factory, tiny_distribution):
    """Two folders of pictures and a distribution file, in one folder."""
    folder = tmp_path_factory.mktemp("classes")
    write_pictures(folder / "dogs", 3)
    write_pictures(folder / "red cats", 2)
    (folder / "apes.safetensors").write_bytes(tiny_distribution.read_bytes())
    (folder / "notes.txt").write_text("not a class")
    return folder


@pytest.fixture(autouse=True)
def small_batches(monkeypatch):
    """Two pictures at once, so that a class has several batches."""
    monkeypatch.setattr(make, "at_once", lambda backbone: 2)


@pytest.fixture
def run(classes, tiny_backbone):
    def run(out, **values):
        return make_dataset(classes, load_backbone(str(tiny_backbone)), replace(CONFIG, **values), out)

    return run


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def manifest(folder: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((folder / "manifest.csv").open()))


def test_an_image_folder_is_what_torchvision_reads(run, tmp_path):
    assert run(tmp_path / "data") == []
    found = ImageFolder(str(tmp_path / "data" / "images"))
    assert found.classes == ["apes", "dogs", "red-cats"] and len(found) == 15
    rows = {row["file"]: row for row in manifest(tmp_path / "data")}
    assert len(rows) == 15
    for path, label in found.samples:
        row = rows[Path(path).relative_to(tmp_path / "data").as_posix()]
        assert int(row["label"]) == label and row["class"] == ("apes", "dogs", "red cats")[label]
        assert Image.open(path).size == (16, 16)
    assert {row["gamma"] for row in rows.values()} == {"0.5", "1.0"}
    assert {row["suffix"] for row in rows.values()} == {"", "at night"}
    assert len({row["draw_seed"] for row in rows.values()}) == 15


def read_shards(folder: Path) -> dict[str, dict[str, bytes]]:
    """As WebDataset's readers group: consecutive files of one name up to the first dot."""
    samples: dict[str, dict[str, bytes]] = defaultdict(dict)
    for path in sorted(folder.glob("*.tar")):
        with tarfile.open(path) as archive:
            for entry in archive:
                key, _, suffix = entry.name.partition(".")
                assert entry.mtime == 0 and suffix not in samples[key]
                samples[key][suffix] = archive.extractfile(entry).read()
    return samples


def test_shards_hold_the_same_pictures_with_labels_and_draws(run, tmp_path):
    run(tmp_path / "folder")
    run(tmp_path / "shards", format="webdataset")
    samples = read_shards(tmp_path / "shards")
    assert [path.name for path in sorted((tmp_path / "shards").glob("*.tar"))] == [
        f"shard-00000{n}.tar" for n in range(4)
    ]
    assert len(samples) == 15 and not (tmp_path / "shards" / ".pictures").exists()
    images = {row["key"]: tmp_path / "folder" / row["file"] for row in manifest(tmp_path / "folder")}
    for row in manifest(tmp_path / "shards"):
        sample = samples[row["key"]]
        assert sample.keys() == {"png", "cls", "json"} and sample["cls"].decode() == row["label"]
        assert json.loads(sample["json"])["class"] == row["class"]
        with tarfile.open(tmp_path / "shards" / row["file"]) as archive:
            assert f"{row['key']}.png" in archive.getnames()
        # Other shards make other batches, whose last bits may differ.
        here, there = (Image.open(f).convert("L").histogram() for f in (io.BytesIO(sample["png"]), images[row["key"]]))
        assert sum(abs(a - b) for a, b in zip(here, there, strict=True)) <= 16
    labels = [sample["cls"].decode() for sample in samples.values()]
    assert labels[:4] == ["0", "1", "2", "0"]  # classes are mixed


def test_a_picture_is_the_draw_that_the_manifest_says(run, tmp_path, tiny_backbone):
    run(tmp_path / "data")
    backbone = load_backbone(str(tiny_backbone))
    encoder = SoftPromptEncoder(backbone.tokenizer, backbone.text_encoder)
    for row in manifest(tmp_path / "data")[:6]:
        learned = tmp_path / "data" / "learned" / f"{row['class']}.safetensors"
        source = load_distribution(learned) if learned.is_file() else None
        if source is None:
            continue
        draw = source.draw(int(row["draw_seed"]), float(row["gamma"]), suffix=row["suffix"] or None)
        sampling = Sampling(steps=2, noise_seed=noise_seed(CONFIG, row["class"]))
        text = source.embed(draw, encoder)[None]
        (made,) = sample_prompts(backbone, text, encoder.encode_text([""]).hidden[0], sampling, int(row["index"]))
        pixels = torch.frombuffer(bytearray(as_image(made).tobytes()), dtype=torch.uint8).int()
        kept = Image.open(tmp_path / "data" / row["file"]).tobytes()
        assert (pixels - torch.frombuffer(bytearray(kept), dtype=torch.uint8).int()).abs().max() <= 1


@pytest.mark.parametrize("format", ["imagefolder", "webdataset"])
@pytest.mark.parametrize("call", [2, 6])
def test_stopped_and_resumed_equals_unstopped(run, tmp_path, monkeypatch, format, call):
    run(tmp_path / "whole", format=format)
    calls = []

    def interrupting(*arguments, **named):
        calls.append(1)
        if len(calls) == call:
            os.kill(os.getpid(), signal.SIGINT)
        return sample_prompts(*arguments, **named)

    monkeypatch.setattr(make, "sample_prompts", interrupting)
    with pytest.raises(Stopped, match="the same command goes on"):
        run(tmp_path / "data", format=format)
    assert len(calls) == call and not (tmp_path / "data" / "manifest.csv").exists()
    run(tmp_path / "data", format=format)
    before = len(calls)
    assert contents(tmp_path / "data") == contents(tmp_path / "whole")
    run(tmp_path / "data", format=format)
    assert len(calls) == before  # what is whole is left alone


def test_a_lost_picture_is_made_again(run, tmp_path):
    run(tmp_path / "data")
    whole = contents(tmp_path / "data")
    (tmp_path / "data" / "images" / "dogs" / "000003.png").unlink()
    run(tmp_path / "data")
    assert contents(tmp_path / "data") == whole


def test_another_data_set_in_the_folder_is_refused(run, tmp_path):
    run(tmp_path / "data")
    for values, said in (
        ({"gammas": (2.0,)}, "gammas"),
        ({"seed": 1}, "seed"),
        ({"learn": {"steps": 3}}, "learn"),
    ):
        with pytest.raises(UserError, match=f"another data set: {said} differ"):
            run(tmp_path / "data", **values)


def test_a_class_that_cannot_be_used_is_named_and_the_others_are_made(tmp_path, tiny_backbone, classes, capsys):
    folder = tmp_path / "classes"
    for name in ("dogs", "red cats"):
        write_pictures(folder / name, 2)
    (folder / "empty").mkdir()
    (folder / "broken.safetensors").write_bytes(b"nothing")
    command = ["dataset", str(folder), "--per-class", "2", "--out", str(tmp_path / "data"), "--steps", "2"]
    command += ["--backbone", str(tiny_backbone), "--learn.steps", "1", "--learn.prompts", "2", "--learn.batch", "2"]
    assert main(command) == 2
    printed = capsys.readouterr()
    assert printed.out.split() == [str(tmp_path / "data" / "manifest.csv")]
    failed = [line for line in printed.err.splitlines() if line.startswith("failed: ")]
    assert ["broken.safetensors" in failed[0], "holds no images" in failed[1], len(failed)] == [True, True, 2]
    assert "made without 2 of the classes" in printed.err
    assert ImageFolder(str(tmp_path / "data" / "images")).classes == ["dogs", "red-cats"]


def test_a_baseline_is_drawn_from_with_the_backbone_it_changed(tmp_path, tiny_backbone):
    folder, tiny = tmp_path / "classes", ["--backbone", str(tiny_backbone)]
    write_pictures(tmp_path / "cats", 2)
    settings = ["--words", "cat", "--steps", "1", "--batch", "1", "--prior", "0", "--rank", "1", "--lr", "10"]
    for name in ("cats", "dogs"):
        out = ["--out", str(folder / name)]
        assert main(["baseline", "dreambooth-lora", str(tmp_path / "cats"), *out, *settings, *tiny]) == 0
    command = ["dataset", str(folder), "--per-class", "2", "--out", str(tmp_path / "data"), "--steps", "2"]
    assert main([*command, *tiny]) == 0
    assert not (tmp_path / "data" / "learned").exists()
    backbone = load_backbone(str(folder / "cats" / "backbone"))
    source = load_distribution(folder / "cats" / "prompts.safetensors")
    rows = [row for row in manifest(tmp_path / "data") if row["class"] == "cats"]
    encoder = SoftPromptEncoder(backbone.tokenizer, backbone.text_encoder)
    text = torch.stack([source.embed(source.draw(int(row["draw_seed"])), encoder) for row in rows])
    sampling = Sampling(steps=2, rescale=0.6, noise_seed=noise_seed(DatasetConfig(), "cats"))
    made = sample_prompts(backbone, text, encoder.encode_text([""]).hidden[0], sampling)
    for row, picture in zip(rows, made, strict=True):
        assert Image.open(tmp_path / "data" / row["file"]).tobytes() == as_image(picture).tobytes()


@pytest.mark.parametrize(
    "values,said",
    [
        ({"per_class": 0}, "per_class=0"),
        ({"shard": 0}, "shard=0"),
        ({"gammas": ()}, "gammas are empty"),
        ({"gammas": (-1.0,)}, "gammas hold -1.0"),
        ({"format": "zip"}, "format='zip' is unknown"),
        ({"seed": -1}, "seed=-1"),
        ({"guidance": -1.0}, "guidance=-1.0"),
    ],
)
def test_what_is_out_of_range_is_named(values, said):
    with pytest.raises(UserError, match=said):
        DatasetConfig(**values)


def test_too_few_classes_are_told(tmp_path, tiny_backbone):
    (tmp_path / "classes" / "one").mkdir(parents=True)
    for folder, said in ((tmp_path / "classes", "holds 1 classes"), (tmp_path / "nowhere", "is no folder")):
        with pytest.raises(UserError, match=said):
            make_dataset(folder, load_backbone(str(tiny_backbone)), CONFIG, tmp_path / "data")
