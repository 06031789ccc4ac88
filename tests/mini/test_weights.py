"""The weights that ship: whole, small, and as good as their card says."""

from importlib import resources
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torchvision.transforms import v2

from dreamdist3d.backbones import latent_shape, load_backbone, sample_images
from dreamdist3d.eval import MiniClip, MiniDino
from dreamdist3d.files import read_json
from dreamdist3d.lift.cameras import camera_condition, orbit
from dreamdist3d.mini.dataset import make_object
from dreamdist3d.mini.families import FAMILIES
from dreamdist3d.mini.render import composite
from dreamdist3d.prompts import SoftPromptEncoder

WEIGHTS = Path(str(resources.files("dreamdist3d"))) / "mini" / "weights"
HELD_OUT_SEED = 1  # the generator was trained on seeds 0 and 10, the judges on 2 and 12


@pytest.fixture(scope="module")
def held_out():
    """Four views of 120 objects that no weight has seen, on white, with their truth."""
    made = [make_object(HELD_OUT_SEED, index, sets=1) for index in range(120)]
    rgba = torch.stack([torch.from_numpy(pictures) for pictures, *_ in made])
    return composite(rgba, torch.ones(120, 4, 3)), [truth for *_, truth in made]


@pytest.fixture(scope="module")
def backbone():
    return load_backbone("mini")


def test_every_file_is_under_20_mb_and_all_under_40():
    sizes = [path.stat().st_size for path in WEIGHTS.rglob("*") if path.is_file()]
    assert max(sizes) < 20e6
    assert sum(sizes) < 40e6
    assert not [p for p in WEIGHTS.rglob("*") if p.suffix in {".bin", ".pt", ".ckpt", ".pkl"}]


def test_the_autoencoder_restores_unseen_objects(backbone, held_out):
    pictures = held_out[0].flatten(0, 1)
    with torch.no_grad():
        restored = backbone.decode_latents(backbone.encode_images(pictures)).clamp(-1, 1)
    psnr = -10 * torch.log10(F.mse_loss(restored / 2, pictures / 2))
    assert psnr > 33.0


def test_latents_have_unit_spread(backbone, held_out):
    with torch.no_grad():
        assert 0.8 < float(backbone.encode_images(held_out[0].flatten(0, 1)).std()) < 1.2


def test_the_clip_judge_names_the_family_of_unseen_objects(held_out):
    pictures, truth = held_out
    judge, names = MiniClip(), list(FAMILIES)
    texts = judge.encode_text([f"a {name}" for name in names])
    chosen = (judge.encode((pictures.flatten(0, 1) + 1) / 2) @ texts.t()).argmax(dim=1)
    wanted = torch.tensor([names.index(t["family"]) for t in truth]).repeat_interleave(4)
    assert (chosen == wanted).float().mean() > 0.97


def test_the_dino_judge_tells_objects_apart(held_out):
    """Two views of one object are more alike than views of two objects of its family."""
    features = MiniDino().encode((held_out[0].flatten(0, 1) + 1) / 2).unflatten(0, (120, 4))
    same = (features[:, 0] * features[:, 2]).sum(-1)
    other = (features[:, 0] * features.roll(-len(FAMILIES), 0)[:, 2]).sum(-1)
    assert (same > other).float().mean() > 0.85


def test_the_dino_judge_tells_families_without_their_colors(held_out):
    """The nearest of the other objects is of the same family, among gray pictures too (chance: 5 %)."""
    gray = v2.functional.rgb_to_grayscale(held_out[0][:, 0], num_output_channels=3)
    families = [truth["family"] for truth in held_out[1]]
    same = torch.tensor([[a == b for b in families] for a in families])
    for pictures, least in ((held_out[0][:, 0], 0.6), (gray, 0.5)):
        features = MiniDino().encode((pictures + 1) / 2)
        nearest = (features @ features.t() - 2 * torch.eye(len(features))).argmax(dim=1)
        assert float(same[torch.arange(len(nearest)), nearest].float().mean()) > least


def test_no_camera_is_left_out_as_in_mvdream(backbone):
    assert read_json(WEIGHTS / "model_index.json")["no_camera"] == "omitted"
    text, latents, t = torch.zeros(1, 4, 128), torch.zeros(1, *latent_shape(backbone)), torch.tensor([500])
    bare = backbone.predict(latents, t, text)
    embedding = backbone.unet.class_embedding
    backbone.unet.class_embedding = None
    backbone.unet.config["class_embed_type"], kept = None, backbone.unet.config["class_embed_type"]
    without = backbone.unet(latents, t, encoder_hidden_states=text, cross_attention_kwargs={"n_views": 1}).sample
    backbone.unet.class_embedding, backbone.unet.config["class_embed_type"] = embedding, kept
    torch.testing.assert_close(bare, without)


@pytest.mark.slow
def test_samples_follow_their_captions_in_every_view(backbone):
    """Colour, family and consistency: what the model card's grid shows, on other noise."""
    words = {"a red mushroom": (0, "mushroom"), "a green tree": (1, "tree"), "a blue chair": (2, "chair")}
    encoder = SoftPromptEncoder(backbone.tokenizer, backbone.text_encoder)
    hidden = encoder.encode_text([*words, ""]).hidden
    ones = torch.ones(4)
    cameras = camera_condition(orbit(torch.tensor([0.0, 90.0, 180.0, 270.0]), ones * 15, ones * 1.55, ones * 40).c2w)
    noise = torch.randn(12, *latent_shape(backbone), generator=torch.Generator().manual_seed(3))
    pictures = sample_images(
        backbone, hidden[:3].repeat_interleave(4, 0), hidden[3], noise, 5.0, 20, cameras.repeat(3, 1), 4, rescale=0.6
    )
    judge, names = MiniClip(), list(FAMILIES)
    chosen = (judge.encode(pictures) @ judge.encode_text([f"a {name}" for name in names]).t()).argmax(1)
    told = [names[i] for i in chosen.tolist()]
    for index, (channel, family) in enumerate(words.values()):
        assert told[4 * index : 4 * index + 4].count(family) >= 3, (family, told)
        center = pictures[4 * index : 4 * index + 4, :, 12:36, 24:40].mean(dim=(0, 2, 3))
        assert center.argmax() == channel
