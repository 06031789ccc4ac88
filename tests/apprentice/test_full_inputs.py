"""The inputs of a full-size apprentice, on small random models in the layouts that are published."""

import json
from importlib import import_module

import open_clip
import pytest
import timm
import torch
from safetensors.torch import save_file

from dreamdist3d.apprentice.full_inputs import DinoAndClip, load_full_inputs
from dreamdist3d.apprentice.instant import instant
from dreamdist3d.apprentice.mining import FolderSettings, mine_folders
from dreamdist3d.apprentice.training import TrainSettings, train
from dreamdist3d.errors import UserError
from dreamdist3d.eval.features import PUBLISHED, ClipEncoder
from dreamdist3d.eval.features.clip import ClipModel
from dreamdist3d.eval.features.timm_vit import TimmEncoder, TimmModel
from dreamdist3d.prompts import load_references
from tests.prompts.tiny import write_pictures

SMALL = {"embed_dim": 16, "depth": 1, "num_heads": 2}


@pytest.fixture(scope="module")
def encoders(tmp_path_factory):
    folder = tmp_path_factory.mktemp("published")
    published = PUBLISHED["dinov2"]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = timm.create_model(published.architecture, pretrained=False, num_classes=0, **SMALL)
        save_file(network.state_dict(), folder / "model.safetensors")
        tower = {"layers": 1, "width": 64}
        vision = {**tower, "image_size": 224, "patch_size": 56}
        text = {**tower, "context_length": 77, "vocab_size": 49408, "heads": 2}
        (folder / "tiny-clip.json").write_text(json.dumps({"embed_dim": 8, "vision_cfg": vision, "text_cfg": text}))
        open_clip.add_model_config(folder / "tiny-clip.json")
        clip = open_clip.create_model("tiny-clip", force_quick_gelu=True)
        save_file(clip.state_dict(), folder / "open_clip_model.safetensors")
    dino = TimmModel("dinov2", published.name, published.architecture, {}, SMALL)
    return (
        TimmEncoder(dino, folder / "model.safetensors"),
        ClipEncoder(ClipModel("clip", "CLIP", "tiny-clip", "nobody"), folder / "open_clip_model.safetensors"),
        network.eval(),
    )


def test_patches_are_means_of_the_transformers_places(encoders):
    dino, _, network = encoders
    image = torch.rand(3, 518, 518, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        tokens = network.forward_features(dino._preprocess(image)[None])[0, network.num_prefix_tokens :]
    grid = tokens.view(37, 37, 16)
    found = dino.patches([image], side=8)[0].view(8, 8, 16)
    torch.testing.assert_close(found[0, 0], grid[:5, :5].mean(dim=(0, 1)), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(found[7, 3], grid[32:, 13:19].mean(dim=(0, 1)), atol=1e-5, rtol=1e-4)


def test_the_whole_pipeline_runs_on_them(backbone, encoders, tmp_path, monkeypatch):
    inputs = DinoAndClip(*encoders[:2], torch.device("cpu"))
    for number in range(10):
        write_pictures(tmp_path / "in" / f"{number}", 3, (20, 16 + number))
    settings = FolderSettings(similar=(-1.0, 1.1))
    bank = mine_folders(backbone, tmp_path / "in", tmp_path / "clusters", inputs, encoders[1], settings)
    assert bank.input_shape == (64, 16 + 8)
    assert [len(bank.split(name)) for name in ("train", "known")] == [9, 1]
    trained = train(backbone, bank, tmp_path / "work" / "training", TrainSettings(steps=1, details_steps=0, width=16))
    assert trained.inputs == inputs.name
    module = import_module("dreamdist3d.apprentice.instant")
    monkeypatch.setattr(module, "load_inputs", lambda name, backbone: inputs)
    made = instant(backbone, trained, load_references(tmp_path / "in" / "0", 16))
    assert made.tokens.shape == (32, 8, 16)


def test_unknown_inputs_and_other_weights_are_refused(backbone, encoders, monkeypatch):
    with pytest.raises(UserError, match="dinov2\\+clip_vitl14"):
        load_full_inputs("pixels", backbone)
    monkeypatch.setattr("dreamdist3d.apprentice.full_inputs.load_encoders", lambda names: list(encoders[:2]))
    name = load_full_inputs("dinov2+clip_vitl14", backbone).name
    assert load_full_inputs(name, backbone).name == name
    with pytest.raises(UserError, match="get the same weights"):
        load_full_inputs(name.replace("sha256:", "sha256:0"), backbone)
