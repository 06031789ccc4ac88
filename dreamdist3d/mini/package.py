"""From training folders to the weights that ship: half precision, plain diffusers and transformers layouts."""

import json
from pathlib import Path

import torch
from diffusers import AutoencoderTiny, UNet2DConditionModel
from transformers import CLIPImageProcessor, CLIPModel, CLIPTextModel, CLIPTokenizer, ViTImageProcessor, ViTModel

from dreamdist3d.files import read_json, write_json, write_text
from dreamdist3d.mini.dataset import VIEWS_PER_SET
from dreamdist3d.mini.diffusion import build_scheduler
from dreamdist3d.mini.render import IMAGE_SIZE
from dreamdist3d.quiet import quiet_loading

_HALF = torch.float16


def package_backbone(source: Path, target: Path) -> None:
    """Write `source` (as trained) to `target` as a diffusers model folder in float16."""
    save_tokenizer(CLIPTokenizer.from_pretrained(source / "tokenizer"), target / "tokenizer")
    parts = {"text_encoder": CLIPTextModel, "vae": AutoencoderTiny, "unet": UNet2DConditionModel}
    with quiet_loading():
        for part, kind in parts.items():
            kind.from_pretrained(source / part).to(_HALF).save_pretrained(target / part)
            _forget_origin(target / part / "config.json")
    build_scheduler().save_pretrained(target / "scheduler")
    index = {
        "_class_name": "StableDiffusionPipeline",
        "n_views": VIEWS_PER_SET,
        "no_camera": "omitted",
        "feature_extractor": [None, None],
        "safety_checker": [None, None],
        "scheduler": ["diffusers", "DDPMScheduler"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderTiny"],
    }
    write_json(target / "model_index.json", index)


def package_judges(source: Path, target: Path) -> None:
    """Write the scoring encoders of `source` to `target` in float16, each with its own preprocessing."""
    processing = {
        "size": {"height": IMAGE_SIZE, "width": IMAGE_SIZE},
        "do_center_crop": False,
        "image_mean": [0.5] * 3,
        "image_std": [0.5] * 3,
    }
    with quiet_loading():
        CLIPModel.from_pretrained(source / "clip").to(_HALF).save_pretrained(target / "clip")
        ViTModel.from_pretrained(source / "dino", add_pooling_layer=False).to(_HALF).save_pretrained(target / "dino")
    save_tokenizer(CLIPTokenizer.from_pretrained(source / "clip"), target / "clip")
    CLIPImageProcessor(**processing).save_pretrained(target / "clip")
    ViTImageProcessor(**processing).save_pretrained(target / "dino")


def _forget_origin(config: Path) -> None:
    """Drop what diffusers writes into a model's configuration and then warns of: the training folder's path, and
    AutoencoderTiny's own copy of its decoder's widths."""
    values = read_json(config)
    values.pop("_name_or_path", None)
    if values.get("_class_name") == "AutoencoderTiny":
        values.pop("block_out_channels", None)
    write_json(config, values)


def save_tokenizer(tokenizer: CLIPTokenizer, folder: Path) -> None:
    """Save a tokenizer together with the `vocab.json` and `merges.txt` that older readers want."""
    tokenizer.save_pretrained(folder)
    model = json.loads(tokenizer.backend_tokenizer.to_str())["model"]
    write_json(folder / "vocab.json", model["vocab"])
    merges = [" ".join(pair) if isinstance(pair, list) else pair for pair in model["merges"]]
    write_text(folder / "merges.txt", "\n".join(["#version: 0.2", *merges]) + "\n")
