"""A plain Stable Diffusion folder in miniature: AutoencoderKL, a UNet without cameras, a DDIM configuration."""

import json
from pathlib import Path

import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel

from tests.prompts.tiny import WIDTH, tiny_text_encoder, tiny_tokenizer


def tiny_vae() -> AutoencoderKL:
    """Two levels (f = 2), Stable Diffusion's scaling factor, random weights."""
    with torch.random.fork_rng():
        torch.manual_seed(2)
        return AutoencoderKL(
            block_out_channels=(4, 4),
            down_block_types=("DownEncoderBlock2D",) * 2,
            up_block_types=("UpDecoderBlock2D",) * 2,
            norm_num_groups=2,
            latent_channels=4,
            sample_size=16,
            scaling_factor=0.18215,
        )


def write_sd_folder(folder: Path) -> Path:
    """Write every part with its own `save_pretrained`, as `stable-diffusion-2-1-base` is laid out."""
    tokenizer = tiny_tokenizer(folder / "tokenizer", pad="!")
    tiny_text_encoder(tokenizer).save_pretrained(folder / "text_encoder")
    tiny_vae().save_pretrained(folder / "vae")
    with torch.random.fork_rng():
        torch.manual_seed(3)
        unet = UNet2DConditionModel(
            sample_size=8,
            block_out_channels=(8, 8),
            down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
            layers_per_block=1,
            norm_num_groups=4,
            attention_head_dim=4,
            cross_attention_dim=WIDTH,
            use_linear_projection=True,
        )
    unet.save_pretrained(folder / "unet")
    scheduler = DDIMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", set_alpha_to_one=False)
    scheduler.save_pretrained(folder / "scheduler")
    (folder / "model_index.json").write_text(json.dumps({"_class_name": "StableDiffusionPipeline"}))
    return folder
