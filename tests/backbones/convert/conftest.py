"""Small whole checkpoints in the layouts that people have."""

from pathlib import Path

import pytest
import torch
from torch import Tensor
from transformers import CLIPTextConfig, CLIPTextModel

from dreamdist3d.backbones.convert import convert_checkpoint
from dreamdist3d.backbones.convert.checkpoint import original_scheduler
from dreamdist3d.backbones.convert.text import CLIP_PREFIX
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
    text = CLIPTextConfig(
        vocab_size=VOCABULARY, hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=1
    )
    names = randomised(CLIPTextModel(text)).state_dict().items()
    return {
        **with_prefix(UNET, unet_tensors((32, 64), camera=False, linear=False, context=64)),
        **with_prefix(VAE, vae_tensors()),
        **{f"{CLIP_PREFIX}text_model.{name.removeprefix('text_model.')}": value for name, value in names},
        "betas": torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2,
    }


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
