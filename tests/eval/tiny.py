"""Small stand-ins: random-weight judges in the real layouts, and painted meshes."""

from pathlib import Path

import numpy as np
import torch
import trimesh
from tokenizers import pre_tokenizers
from transformers import CLIPConfig, CLIPModel, CLIPTokenizer, ViTConfig, ViTModel

TOWER = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}


def save_dino(folder: Path) -> Path:
    """A ViTModel with a 16-number class token for 32 pixel pictures."""
    torch.manual_seed(0)
    ViTModel(ViTConfig(**TOWER, image_size=32, patch_size=8)).save_pretrained(folder)
    return folder


def save_clip(folder: Path) -> Path:
    """A CLIPModel with an 8-number space and a byte-level tokenizer."""
    torch.manual_seed(1)
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    pieces = [*letters, *(letter + "</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    vocabulary = {piece: index for index, piece in enumerate(pieces)}
    CLIPTokenizer(vocab=vocabulary, merges=[]).save_pretrained(folder)
    ends = {"bos_token_id": len(pieces) - 2, "eos_token_id": len(pieces) - 1, "pad_token_id": len(pieces) - 1}
    text = {**TOWER, **ends, "vocab_size": len(pieces), "max_position_embeddings": 16}
    vision = {**TOWER, "image_size": 32, "patch_size": 8}
    CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=8)).save_pretrained(folder)
    return folder


def colored(mesh: trimesh.Trimesh, rgb: tuple[int, int, int]) -> trimesh.Trimesh:
    """The mesh with one vertex colour."""
    mesh.visual.vertex_colors = np.tile(np.uint8([*rgb, 255]), (len(mesh.vertices), 1))
    return mesh
