"""A model folder in the diffusers layout with RANDOM weights: for speed and memory, not for pictures.

    python benchmarks/random_model.py --size small --out outputs/small
    python benchmarks/random_model.py --size sd21 --out outputs/sd21 --half

`small` has a text width of 256 and a UNet of 64, 128 and 256 channels, for 128 pixels. `sd21` is Stable Diffusion
2.1's architecture, `mvdream` the same with MVDream's camera embedding, for 256 pixels. Prints the parameter counts,
for the large ones beside the published ones.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import torch
import tyro
from diffusers import AutoencoderKL, DDPMScheduler, UNet2DConditionModel
from tokenizers.pre_tokenizers import ByteLevel
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from dreamdist3d.files import ensure_folder, write_json
from dreamdist3d.quiet import quiet_loading

Size = Literal["small", "sd21", "mvdream"]
VOCABULARY, CONTEXT = 49408, 77
CAMERA_EMBEDDING = 16 * 1280 + 1280 + 1280 * 1280 + 1280  # Linear-SiLU-Linear
PUBLISHED = {
    "sd21": {"text_encoder": 340_387_840, "vae": 83_653_863, "unet": 865_910_724},
    "mvdream": {"text_encoder": 340_387_840, "vae": 83_653_863, "unet": 865_910_724 + CAMERA_EMBEDDING},
}

_UNET: dict[Size, dict[str, Any]] = {
    "small": {
        "sample_size": 16,
        "block_out_channels": (64, 128, 256),
        "down_block_types": ("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
        "attention_head_dim": (2, 4, 8),
        "cross_attention_dim": 256,
    },
    "sd21": {
        "sample_size": 96,
        "block_out_channels": (320, 640, 1280, 1280),
        "attention_head_dim": (5, 10, 20, 20),
        "cross_attention_dim": 1024,
    },
}
_UNET["mvdream"] = {
    **_UNET["sd21"],
    "sample_size": 32,
    "class_embed_type": "projection",
    "projection_class_embeddings_input_dim": 16,
}


def main(
    out: Path,
    size: Size = "small",
    prediction_type: Literal["epsilon", "v_prediction"] = "epsilon",
    half: bool = False,
    seed: int = 0,
) -> None:
    """Write the folder.

    Args:
        out: the folder to write.
        size: which architecture.
        prediction_type: what the UNet is taken to predict.
        half: float16 on disk.
        seed: of the weights.
    """
    ensure_folder(out)
    generator = torch.Generator().manual_seed(seed)
    byte_tokenizer(None if size == "small" else VOCABULARY).save_pretrained(out / "tokenizer")
    counts = {}
    for name, build in architecture(size).items():
        model = on_meta(build)
        counts[name] = parameters(model)
        with quiet_loading():
            randomize(model.half() if half else model, generator).save_pretrained(out / name)
    schedule = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "clip_sample": False}
    DDPMScheduler(prediction_type=prediction_type, **schedule).save_pretrained(out / "scheduler")
    write_json(out / "model_index.json", {"_class_name": "StableDiffusionPipeline"})
    print(json.dumps({"parameters": counts, "published": PUBLISHED.get(size)}))


def architecture(size: Size) -> dict[str, Callable[[], nn.Module]]:
    """How to build each model of a size, by its folder's name."""
    return {
        "text_encoder": lambda: CLIPTextModel(text_config(size)),
        "vae": lambda: autoencoder(size),
        "unet": lambda: UNet2DConditionModel(**_UNET[size], use_linear_projection=True),
    }


def text_config(size: Size) -> CLIPTextConfig:
    """OpenCLIP-H's text tower without its last layer, as Stable Diffusion 2 uses it, or 12 layers of width 256."""
    tokenizer = byte_tokenizer(None if size == "small" else VOCABULARY)
    width, layers, heads = (256, 12, 4) if size == "small" else (1024, 23, 16)
    return CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=4 * width,
        projection_dim=width // 2,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        max_position_embeddings=CONTEXT,
        hidden_act="gelu",
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )


def autoencoder(size: Size) -> AutoencoderKL:
    """Stable Diffusion's, with a quarter of its channels for `small`."""
    channels = (32, 64, 128, 128) if size == "small" else (128, 256, 512, 512)
    return AutoencoderKL(
        block_out_channels=channels,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=2,
        latent_channels=4,
        sample_size=128 if size == "small" else 768,
        scaling_factor=0.18215,
    )


def byte_tokenizer(vocabulary: int | None = None) -> CLIPTokenizer:
    """A CLIP tokenizer without merges: every byte is a token; `vocabulary` ids in all, those between unused."""
    letters = sorted(ByteLevel.alphabet())
    tokens = letters + [f"{letter}</w>" for letter in letters]
    tokens += [f"<|unused{i}|>" for i in range((vocabulary or len(tokens) + 2) - len(tokens) - 2)]
    vocab = {token: index for index, token in enumerate([*tokens, "<|startoftext|>", "<|endoftext|>"])}
    return CLIPTokenizer(vocab=vocab, merges=[], model_max_length=CONTEXT, pad_token="!")


def on_meta(build: Callable[[], nn.Module]) -> nn.Module:
    """A model whose weights have shapes and take no memory; the libraries' own initialisation is skipped."""
    with torch.device("meta"):
        return build()


@torch.no_grad()
def randomize(model: nn.Module, generator: torch.Generator) -> nn.Module:
    """Give a model on the meta device memory and weights of a size that keeps activations near one."""
    model = model.to_empty(device="cpu")
    for name, weight in model.named_parameters():
        if weight.ndim > 1:
            fan_in = 2500 if "embedding.weight" in name else weight[0].numel()
            weight.normal_(std=fan_in**-0.5, generator=generator)
        else:
            weight.fill_(0.0 if name.endswith("bias") else 1.0)
    return model


def parameters(model: nn.Module) -> int:
    """How many weights."""
    return sum(weight.numel() for weight in model.parameters())


if __name__ == "__main__":
    tyro.cli(main)
