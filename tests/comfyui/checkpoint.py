"""A checkpoint file that ComfyUI takes for Stable Diffusion 1.5: random, the UNet as wide and hardly as deep.

Text encoder and autoencoder are of full size, for ComfyUI brings their sizes along. All numbers fit half precision.
"""

from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import CLIPTextConfig, CLIPTextModel

from tests.backbones.convert.original import unet_tensors, vae_tensors, with_prefix


def write_checkpoint(path: Path) -> Path:
    text = CLIPTextConfig(
        vocab_size=49408,
        hidden_size=768,
        intermediate_size=3072,
        num_hidden_layers=12,
        num_attention_heads=12,
        hidden_act="quick_gelu",
        projection_dim=768,
        bos_token_id=49406,
        eos_token_id=49407,
        pad_token_id=49407,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        encoder = CLIPTextModel(text)
    names = {
        f"cond_stage_model.transformer.text_model.{name.removeprefix('text_model.')}": value
        for name, value in encoder.state_dict().items()
    }
    tensors = {
        **with_prefix("model.diffusion_model.", unet_tensors((320,), (True,), camera=False, linear=False, context=768)),
        **with_prefix("first_stage_model.", vae_tensors((128, 256, 512, 512), 2)),
        **names,
    }
    halved = {name: value.half().contiguous() for name, value in tensors.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(halved, path)
    return path
