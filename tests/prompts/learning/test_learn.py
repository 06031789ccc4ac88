"""Learning end to end on tiny parts: what it minimises, what it touches, what it refuses."""

import os
import tempfile
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKL, DDPMScheduler, UNet2DConditionModel

from dreamdist3d.backbones import Backbone, install_joint_attention
from dreamdist3d.errors import UserError
from dreamdist3d.prompts import LearnConfig, PromptDistribution, SoftPromptEncoder, learn, load_references, preset_for
from dreamdist3d.prompts.learning.images import encode_references
from dreamdist3d.prompts.learning.learner import Learner
from tests.prompts.tiny import CONFIG, PAPER, WIDTH, tiny_text_encoder, tiny_tokenizer, write_pictures


def test_learning_writes_a_distribution_and_nothing_else(backbone, references, out):
    made = learn(backbone, references, CONFIG, out)
    read = PromptDistribution.load(out)
    assert read.content_hash == made.content_hash
    assert read.tokens.shape == (3, 2, WIDTH) and read.prefix == "a photo of" and read.covariance == "low_rank"
    assert read.encoder_fingerprint == backbone.fingerprint
    facts = {"backbone": "tiny", "references": "5", "steps": "12", "seed": "5", "lr": "0.01", "min_snr_gamma": "None"}
    assert facts.items() <= read.metadata.items()
    assert [p.name for p in out.parent.iterdir()] == [out.name]
    assert torch.isfinite(read.moments(SoftPromptEncoder(backbone.tokenizer, backbone.text_encoder)).sigma).all()


@pytest.mark.parametrize("config", [CONFIG, PAPER, replace(PAPER, covariance="diagonal")])
def test_the_loss_falls_by_a_third_on_the_same_noise(backbone, references, config):
    """Beside prompts that stay as they began: step n draws the same pictures, times and noise for both."""
    latents = encode_references(backbone, references.pixels)
    moving, resting = (Learner(backbone, latents, replace(config, lr=lr)) for lr in (0.05, 1e-9))
    losses = torch.tensor([[moving.advance(), resting.advance()] for _ in range(100)])
    learned, begun = losses[-30:].unbind(dim=1)
    assert (learned < 0.9 * begun).all() and learned.sum() < 0.67 * begun.sum()


def test_only_the_tokens_change_and_images_are_encoded_once(backbone, references, out):
    before = {name: value.clone() for name, value in backbone.text_encoder.state_dict().items()}
    learn(backbone, references, CONFIG, out)
    assert all(torch.equal(value, before[name]) for name, value in backbone.text_encoder.state_dict().items())
    assert all(weight.grad is None for weight in backbone.text_encoder.parameters())
    assert backbone.encoded_images == len(references)
    assert backbone.calls == [(8, 2, 4, 4)] * 12


def test_equal_seeds_make_equal_files_and_other_seeds_others(backbone, references, tmp_path):
    blobs = []
    for name, seed in (("a", 5), ("b", 5), ("c", 6)):
        learn(backbone, references, replace(CONFIG, seed=seed), tmp_path / name)
        blobs.append((tmp_path / name).read_bytes())
    assert blobs[0] == blobs[1] != blobs[2]


@pytest.mark.parametrize("images,batch", [(1, 4), (5, 1), (3, 16)])
def test_any_number_of_images_and_any_batch(tmp_path, backbone, out, images, batch):
    references = load_references(write_pictures(tmp_path / "some", images), 8)
    for config in (CONFIG, PAPER):
        learn(backbone, references, replace(config, batch=batch, steps=2), out)
    assert backbone.calls == [(batch, 2, 4, 4)] * 2 + [(2 * batch, 2, 4, 4)] * 2


def test_pictures_of_mixed_sizes_and_aspect_ratios_learn_together(tmp_path, backbone, out):
    for number, size in enumerate([(12, 10), (10, 40), (3, 3), (64, 9), (8, 8)]):
        write_pictures(tmp_path / f"{number}", 1, size).joinpath("00.png").rename(tmp_path / f"{number}.png")
    references = load_references(tmp_path, 8)
    made = learn(backbone, references, CONFIG, out)
    assert references.pixels.shape == (5, 3, 8, 8) and not references.skipped
    assert torch.isfinite(made.tokens).all() and backbone.encoded_images == 5


def test_a_single_prompt_learns_without_nan(backbone, references, out):
    made = learn(backbone, references, replace(PAPER, prompts=1, covariance="diagonal"), out)
    assert made.tokens.shape == (1, 2, WIDTH)
    encoder = SoftPromptEncoder(backbone.tokenizer, backbone.text_encoder)
    assert torch.equal(made.draw(1, 2.0).embed(made.moments(encoder)), made.moments(encoder).mu)


def test_an_overflowing_gradient_leaves_the_tokens_alone(backbone, references):
    learner = Learner(backbone, encode_references(backbone, references.pixels), CONFIG)
    learner.tokens.register_hook(lambda gradient: gradient * float("inf"))
    before = learner.tokens.detach().clone()
    with pytest.raises(FloatingPointError):
        learner.advance()
    assert torch.equal(learner.tokens, before) and learner.step == 0


def test_an_output_that_cannot_be_written_is_found_before_the_work(tmp_path, backbone, references):
    with pytest.raises(UserError, match="is a folder: give a file name"):
        learn(backbone, references, CONFIG, tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write in .*file"):
        learn(backbone, references, CONFIG, tmp_path / "file" / "d.safetensors")
    assert backbone.encoded_images == 0


@contextmanager
def as_nobody():
    """Root may write anywhere, so root steps down for a while."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_folder_without_permission_is_one_line(backbone, references):
    # Not in tmp_path, which others than its owner cannot even enter.
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o555)
        with as_nobody(), pytest.raises(UserError, match=f"cannot write in {name}: Permission denied"):
            learn(backbone, references, CONFIG, Path(name) / "d.safetensors")
        Path(name).chmod(0o755)


def real_backbone(folder, dtype, prediction_type):
    """The real class around a UNet that takes cameras, and an autoencoder with a posterior."""
    torch.manual_seed(0)
    tokenizer = tiny_tokenizer(folder)
    unet = UNet2DConditionModel(
        sample_size=4,
        in_channels=2,
        out_channels=2,
        down_block_types=("CrossAttnDownBlock2D",),
        up_block_types=("CrossAttnUpBlock2D",),
        block_out_channels=(8,),
        layers_per_block=1,
        norm_num_groups=4,
        attention_head_dim=4,
        cross_attention_dim=WIDTH,
        class_embed_type="projection",
        projection_class_embeddings_input_dim=16,
    )
    vae = AutoencoderKL(block_out_channels=(8,), norm_num_groups=4, latent_channels=2)
    text_encoder = tiny_text_encoder(tokenizer)
    modules = [m.to(dtype).eval().requires_grad_(False) for m in (text_encoder, vae, install_joint_attention(unet, 4))]
    scheduler = DDPMScheduler(prediction_type=prediction_type)
    return Backbone("real", "memory", tokenizer, *modules, scheduler, 4, 8, "a" * 64, torch.device("cpu"), dtype)


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_learning_moves_the_tokens_of_a_real_diffusion_model(tmp_path, references, out, dtype, prediction_type):
    config = replace(CONFIG, steps=3, min_snr_gamma=5.0)
    backbone = real_backbone(tmp_path / "t", dtype, prediction_type)
    learner = Learner(backbone, encode_references(backbone, references.pixels), config)
    before = learner.tokens.detach().clone()
    for _ in range(3):
        learner.advance()
    made = learn(backbone, references, config, out)
    assert torch.equal(made.tokens, learner.tokens.detach())
    moved = (made.tokens - before).abs()
    assert moved.mean() > 0.01 and moved.max() < 3 * 1.1 * config.lr
    assert all(weight.grad is None for weight in backbone.unet.parameters())


def test_a_prompt_that_is_too_long_stops_before_the_first_step(backbone, references, out):
    with pytest.raises(UserError, match="too long"):
        learn(backbone, references, replace(CONFIG, tokens=14), out)
    assert backbone.calls == []


@pytest.mark.parametrize(
    "setting",
    [
        *[{name: 0} for name in ("prompts", "tokens", "samples", "batch", "steps", "lr", "min_snr_gamma")],
        *[{"lr": float("nan")}, {"ortho": -1.0}, {"seed": -1}, {"covariance": "full"}, {"objective": "mean"}],
        *[{"covariance": "diagonal"}, {"samples": 2}],
    ],
    ids=str,
)
def test_settings_out_of_range_are_named(setting):
    with pytest.raises(UserError, match=next(iter(setting))):
        LearnConfig(**setting)


def test_the_preset_follows_the_backbones_size(backbone):
    assert preset_for(backbone) == LearnConfig(steps=250, lr=5e-3, ortho=5e-3, batch=32)
    backbone.image_size = 512
    assert preset_for(backbone) == LearnConfig()


@pytest.mark.parametrize("size", [8, 512])
def test_both_objectives_ask_as_much_of_the_unet(backbone, size):
    backbone.image_size = size
    ours, papers = preset_for(backbone), preset_for(backbone, "paper")
    assert ours.batch == papers.batch * papers.samples and papers.samples > 1
    assert replace(papers, objective="coupled", samples=1, batch=ours.batch) == ours


def test_the_papers_objective_stands_in_the_file(backbone, references, out):
    assert learn(backbone, references, CONFIG, out).metadata["objective"] == "coupled"
    assert learn(backbone, references, PAPER, out).metadata["objective"] == "paper"
