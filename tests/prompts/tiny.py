"""Tiny parts to test prompts with: a real CLIP tokenizer and text encoder, a linear stand-in for diffusion."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from diffusers import DDPMScheduler
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from dreamdist3d.prompts import LearnConfig

BOS, EOS = "<|startoftext|>", "<|endoftext|>"
WORDS = ("a", "photo", "of", "cat", "dog", "red", "at", "night", "front", "view")
WIDTH, LENGTH = 16, 16
CONFIG = LearnConfig(prompts=3, tokens=2, batch=8, steps=12, lr=1e-2, prefix="a photo of", seed=5)
PAPER = replace(CONFIG, objective="paper", samples=2, batch=4)


def tiny_tokenizer(folder: Path, pad: str = EOS) -> CLIPTokenizer:
    """A CLIP tokenizer read from disk in which each of `WORDS` is one token; `pad` is EOS (SD 1.x) or "!" (SD 2.x)."""
    folder.mkdir(parents=True, exist_ok=True)
    letters = sorted({*"".join(WORDS), "!", ","})
    merges = []
    for word in WORDS:
        parts = [*word[:-1], word[-1] + "</w>"]
        while len(parts) > 1:
            merges.append((parts[0], parts[1]))
            parts[:2] = [parts[0] + parts[1]]
    merges = list(dict.fromkeys(merges))
    tokens = ["!", *letters, *[f"{letter}</w>" for letter in letters], *["".join(pair) for pair in merges], BOS, EOS]
    vocab = {token: index for index, token in enumerate(dict.fromkeys(tokens))}
    special = {"bos_token": BOS, "eos_token": EOS, "unk_token": EOS, "pad_token": pad}
    config = {"tokenizer_class": "CLIPTokenizer", "model_max_length": LENGTH, **special}
    (folder / "vocab.json").write_text(json.dumps(vocab))
    (folder / "merges.txt").write_text("#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in merges))
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    (folder / "special_tokens_map.json").write_text(json.dumps(special))
    return CLIPTokenizer.from_pretrained(folder)


def tiny_text_encoder(tokenizer: CLIPTokenizer, seed: int = 0, width: int = WIDTH) -> CLIPTextModel:
    """A frozen CLIP text encoder with random weights, large enough for attention to matter."""
    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=LENGTH,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    model = CLIPTextModel(config).eval().requires_grad_(False)
    generator = torch.Generator().manual_seed(seed)
    for name, weight in model.named_parameters():
        if "norm" not in name:
            weight.copy_(torch.randn(weight.shape, generator=generator) * 0.2)
    return model


class TinyVae(nn.Module):
    """2x2 average pooling to two channels: no posterior, like AutoencoderTiny."""

    def encode(self, pixels: Tensor) -> Tensor:
        return nn.functional.avg_pool2d(pixels, 2)[:, :2]


class TinyBackbone:
    """What `learn` uses of a Backbone, with a predictor linear in the latents and in the text."""

    name, source, n_views = "tiny", "memory", 1

    def __init__(self, folder: Path, prediction_type: str = "epsilon", dtype: torch.dtype = torch.float32) -> None:
        self.tokenizer = tiny_tokenizer(folder)
        self.text_encoder = tiny_text_encoder(self.tokenizer).to(dtype)
        self.vae: nn.Module = TinyVae()
        self.image_size, self.fingerprint, self.earlier_fingerprint = 8, f"fp16-{'f' * 64}", "0" * 64
        self.identity = "model"
        self.device, self.dtype, self.prediction_type = torch.device("cpu"), dtype, prediction_type
        self.scheduler = DDPMScheduler(num_train_timesteps=40, prediction_type=prediction_type)
        self.alphas_cumprod = self.scheduler.alphas_cumprod.to(dtype)
        generator = torch.Generator().manual_seed(7)
        self.from_text = torch.randn(LENGTH * WIDTH, 2 * 4 * 4, generator=generator).to(dtype) * 0.1
        self.from_time = torch.randn(40, generator=generator).to(dtype)
        self.calls: list[tuple[int, ...]] = []
        self.encoded_images = 0

    def encode_images(self, pixels: Tensor, generator: torch.Generator | None = None) -> Tensor:
        self.encoded_images += len(pixels)
        return self.vae.encode(pixels)

    def predict(
        self, latents: Tensor, timesteps: Tensor, text: Tensor, cameras: Tensor | None = None, n_views: int = 1
    ) -> Tensor:
        assert cameras is None and n_views == 1
        self.calls.append(tuple(latents.shape))
        shift = (text.flatten(1) @ self.from_text).view_as(latents)
        return 0.3 * latents + shift * (1 + self.from_time[timesteps][:, None, None, None])


def write_pictures(folder: Path, count: int, size: Sequence[int] = (12, 10)) -> Path:
    """`count` small PNGs of random colours."""
    from PIL import Image

    folder.mkdir(parents=True, exist_ok=True)
    generator = torch.Generator().manual_seed(3)
    for index in range(count):
        values = torch.randint(0, 256, (size[1], size[0], 3), generator=generator).byte().numpy()
        Image.fromarray(values).save(folder / f"{index:02d}.png")
    return folder
