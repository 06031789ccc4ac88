"""The whole recipe at toy size: from nothing to folders that the libraries load by themselves."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from transformers import AutoImageProcessor, CLIPModel, CLIPProcessor, CLIPTokenizer, ViTModel

from dreamdist3d.backbones import load_backbone, sample_images
from dreamdist3d.errors import UserError
from dreamdist3d.mini import grids
from dreamdist3d.mini.captured import Captured
from dreamdist3d.mini.recipe import Recipe, train
from dreamdist3d.mini.text import build_tokenizer
from dreamdist3d.prompts import PromptDistribution, SoftPromptEncoder

RECIPE = Recipe(
    objects=20, judge_objects=20, heldout=4, autoencoder_steps=2, diffusion_steps=2, clip_steps=2, dino_steps=2,
    autoencoder_batch=4, diffusion_objects=2, clip_batch=8, dino_batch=8, workers=1,
)  # fmt: skip

pytestmark = pytest.mark.slow


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_told_before_anything_is_made(tmp_path):
    with pytest.raises(UserError, match="--device is cuda, but torch finds no CUDA GPU"):
        train(tmp_path / "out", Recipe(device="cuda"))
    assert not (tmp_path / "out").exists()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
def test_a_recorded_step_is_the_step(tmp_path):
    """As CUDA graphs, with a generator seeded anew for every step, training repeats itself and equals plain calls."""
    ends = []
    for recorded in (True, True, False):
        torch.manual_seed(0)
        model = torch.nn.Linear(8, 8).cuda()

        def loss(generator, model=model):
            x = torch.randn(32, 8, generator=generator, device="cuda")
            return {"loss": (model(x).float() - x).square().mean()}

        generator = torch.Generator("cuda")
        captured = Captured(loss, list(model.parameters()), generator)
        captured.recorded = not recorded
        for step in range(20):
            generator.manual_seed(step)
            captured.backward()
            with torch.no_grad():
                for weight in model.parameters():
                    weight -= 0.1 * weight.grad
        ends.append(model.weight.detach().clone())
    assert torch.equal(ends[0], ends[1])
    torch.testing.assert_close(ends[0], ends[2], atol=1e-3, rtol=1e-2)


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    folder = tmp_path_factory.mktemp("recipe")
    with pytest.MonkeyPatch.context() as patch, torch.random.fork_rng():
        patch.setattr(grids, "sample_images", lambda *a, **named: sample_images(*a, **named, steps=1))
        assert train(folder, RECIPE) == folder / "weights"
        before = {p: p.read_bytes() for p in folder.rglob("*.safetensors")}
        train(folder, RECIPE)  # everything is there already
    assert {p: p.read_bytes() for p in folder.rglob("*.safetensors")} == before
    return folder


def test_the_backbone_loads_and_runs(out):
    backbone = load_backbone(str(out / "weights"))
    assert (backbone.n_views, backbone.image_size, backbone.prediction_type) == (4, 64, "v_prediction")
    assert backbone.vae.config.scaling_factor != 1.0
    latents = backbone.encode_images(torch.rand(4, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1)
    text = SoftPromptEncoder(backbone.tokenizer, backbone.text_encoder).encode_text(["a red mug"]).hidden
    output = backbone.predict(latents, torch.full((4,), 500), text.expand(4, -1, -1), torch.zeros(4, 16), 4)
    assert output.shape == latents.shape == (4, 8, 16, 16) and output.isfinite().all()


def test_a_distribution_lives_on_it(out):
    backbone = load_backbone(str(out / "weights"))
    encoder = SoftPromptEncoder(backbone.tokenizer, backbone.text_encoder)
    tokens = torch.randn(3, 2, encoder.width, generator=torch.Generator().manual_seed(0)) * 0.02
    distribution = PromptDistribution(tokens, "low_rank", backbone.fingerprint, suffix="on a table")
    assert distribution.draw(0).embed(distribution.moments(encoder)).isfinite().all()


def test_the_tokenizer_is_the_grammars_in_every_reader(out):
    text = "an orange mushroom with a tall white stem, front view"
    expected = build_tokenizer()(text).input_ids
    for folder in (out / "weights" / "tokenizer", out / "weights" / "judges" / "clip"):
        assert CLIPTokenizer.from_pretrained(folder)(text).input_ids == expected
        vocab = json.loads((folder / "vocab.json").read_text())
        merges = (folder / "merges.txt").read_text().splitlines()[1:]
        assert vocab == build_tokenizer().get_vocab() and all("".join(m.split()) in vocab for m in merges)


def test_the_judges_load_with_transformers_and_prepare_pictures_alike(out):
    folder = out / "weights" / "judges"
    clip, dino = CLIPModel.from_pretrained(folder / "clip"), ViTModel.from_pretrained(folder / "dino")
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    picture = Image.fromarray(pixels)
    expected = torch.from_numpy(pixels).movedim(-1, 0)[None] / 255 * 2 - 1
    given = CLIPProcessor.from_pretrained(folder / "clip")(text=["a red mug"], images=picture, return_tensors="pt")
    torch.testing.assert_close(given["pixel_values"], expected, atol=1e-5, rtol=0)
    alone = AutoImageProcessor.from_pretrained(folder / "dino")(images=picture, return_tensors="pt")["pixel_values"]
    torch.testing.assert_close(alone, expected, atol=1e-5, rtol=0)
    with torch.no_grad():
        assert clip.float()(**given).logits_per_image.isfinite().all()
        assert dino.float()(alone).last_hidden_state.isfinite().all()


def test_files_are_half_precision_and_small(out):
    for path in (out / "weights").rglob("*.safetensors"):
        assert {v.dtype for v in load_file(path).values() if v.is_floating_point()} == {torch.float16}, path
    sizes = [path.stat().st_size for path in (out / "weights").rglob("*") if path.is_file()]
    assert max(sizes) < 20e6 and sum(sizes) < 40e6


def test_what_was_done_is_written_down(out):
    record = json.loads((out / "weights" / "recipe.json").read_text())
    assert record["objects"] == 20 and set(record["hours"]) == {"autoencoder", "latents", "diffusion", "judges"}
    for name in ("autoencoder", "diffusion", "clip", "dino"):
        last = json.loads((out / f"{name}.jsonl").read_text().splitlines()[-1])
        assert last["step"] == 2 and np.isfinite(last["loss"])
    for name in ("autoencoder.png", "weights/samples.png", "weights/loss_curves.png"):
        assert Image.open(out / name).width > 500
