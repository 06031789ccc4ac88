"""A language model of a few numbers, and a small CLIP, in the layouts of the real ones."""

import json
from pathlib import Path

import timm
import torch
from PIL import Image
from safetensors.torch import save_file
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection, LlamaConfig, LlamaForCausalLM

from dreamdist3d.assistant.model import AssistantModel, build_model
from dreamdist3d.assistant.tokenizer import build_tokenizer
from dreamdist3d.eval.features import PUBLISHED
from dreamdist3d.eval.features.timm_vit import TimmEncoder, TimmModel

FEATURES, WANTED = 12, 6


def tiny_model(seed: int = 0) -> AssistantModel:
    """An untrained assistant 16 wide."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return build_model(build_tokenizer(), FEATURES, WANTED, width=16, layers=2).eval()


def write_tiny_llama(folder: Path, dtype: torch.dtype = torch.float32) -> None:
    """A folder as a copy of a Llama looks: configuration, safetensors, a tokenizer of its own."""
    tokenizer = build_tokenizer()
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        LlamaForCausalLM(config).to(dtype).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def write_tiny_clip(folder: Path) -> None:
    """A folder as a copy of CLIP ViT-L/14 looks, with 4 x 4 patches."""
    config = CLIPVisionConfig(
        hidden_size=FEATURES, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2, image_size=32,
        patch_size=8, projection_dim=WANTED,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(0)
        CLIPVisionModelWithProjection(config).save_pretrained(folder)


def write_quadruplets(folder: Path, count: int = 3) -> Path:
    """A file of quadruplets, with pictures of noise beside it."""
    for number in range(2 * count):
        pixels = torch.randint(256, (24, 24, 3), generator=torch.Generator().manual_seed(number), dtype=torch.uint8)
        Image.fromarray(pixels.numpy()).save(folder / f"{number}.png")
    lines = [
        {
            "picture": f"{i}.png",
            "target": f"{i + count}.png",
            "request": "make it red",
            "answer": "here",
            "text": "a red cat",
        }
        for i in range(count)
    ]
    (folder / "quadruplets.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder / "quadruplets.jsonl"


def tiny_dino(folder: Path) -> TimmEncoder:
    """DINOv2's architecture with hardly any channels."""
    small = {"embed_dim": 16, "depth": 1, "num_heads": 2}
    published = PUBLISHED["dinov2"]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = timm.create_model(published.architecture, pretrained=False, num_classes=0, **small)
    save_file(network.state_dict(), folder / "model.safetensors")
    return TimmEncoder(
        TimmModel("dinov2", published.name, published.architecture, {}, small), folder / "model.safetensors"
    )
