"""The judges: encoders that score pictures and share nothing with the generator, trained on renders alone.

A contrastive picture-text pair (CLIP) and a self-supervised picture encoder that sees no word (SimCLR).
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import CLIPConfig, CLIPModel, CLIPTokenizer, CLIPVisionConfig, ViTConfig, ViTModel

from dreamdist3d.mini.augment import augmented, recoloured, worn
from dreamdist3d.mini.backgrounds import random_scenes
from dreamdist3d.mini.captions import CAPTIONS_PER_OBJECT
from dreamdist3d.mini.dataset import MiniDataset
from dreamdist3d.mini.loop import Stage
from dreamdist3d.mini.parallel import world_size
from dreamdist3d.mini.render import IMAGE_SIZE, composite
from dreamdist3d.mini.text import WIDTH, text_config, tokenize

CLIP_BATCH, DINO_BATCH = 96, 96
_TEMPERATURE = 0.1
_VISION = {
    "hidden_size": 128,
    "intermediate_size": 384,
    "num_hidden_layers": 5,
    "num_attention_heads": 4,
    "image_size": IMAGE_SIZE,
    "patch_size": 8,
}


def build_clip(tokenizer: CLIPTokenizer) -> CLIPModel:
    """A small CLIP with its own text and picture towers."""
    text = text_config(tokenizer, layers=3).to_dict()
    vision = CLIPVisionConfig(**_VISION, projection_dim=WIDTH).to_dict()
    return CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=WIDTH))


def build_dino() -> ViTModel:
    """A small vision transformer; its class token is the feature."""
    return ViTModel(ViTConfig(**_VISION), add_pooling_layer=False)


def clip_stage(
    data: MiniDataset, tokenizer: CLIPTokenizer, model: CLIPModel, steps: int, batch: int = CLIP_BATCH
) -> Stage:
    """InfoNCE over pictures and captions (CLIP, Radford 2021), once with a detailed caption and once with the barest.

    A small world repeats its captions: equal ones are one text, and all its pictures are its positives. Detailed
    captions teach colours, which tell most pairs of a batch apart; the bare ones keep the family from being ignored.
    """
    device = next(model.parameters()).device
    ids = tokenize(tokenizer, [caption for known in data.truth for caption in known["captions"]])
    ids = ids[:, : int((ids != tokenizer.eos_token_id).sum(dim=1).max()) + 1].to(device)
    _, same = ids.unique(dim=0, return_inverse=True)  # equal captions have equal numbers

    def loss(generator: torch.Generator) -> dict[str, Tensor]:
        on: dict[str, Any] = {"generator": generator, "device": generator.device}
        objects = _distinct(batch // world_size(), len(data), generator)
        pictures = worn(augmented(_pictures(data, objects, generator), generator, smallest=0.7), generator)
        detailed = torch.randint(CAPTIONS_PER_OBJECT - 1, objects.shape, **on)
        rows = [objects * CAPTIONS_PER_OBJECT + which for which in (detailed, CAPTIONS_PER_OBJECT - 1)]
        output = model(input_ids=ids[torch.cat(rows)], pixel_values=pictures)
        split = output.logits_per_image.float().split(len(objects), dim=1)
        terms = [contrast(logits, same[row]) for logits, row in zip(split, rows, strict=True)]
        return {"loss": torch.stack(terms).mean()}

    return Stage(
        name="clip", models={"clip": model}, losses={"loss": (1.0, loss)}, steps=steps, lr=1e-3, weight_decay=0.05,
        warmup=300, ema_decay=0.995,
    )  # fmt: skip


def contrast(
    logits: Tensor,  # [B, B], picture i against the text of picture j
    texts: Tensor,  # [B], equal numbers are equal texts
) -> Tensor:
    """Symmetric cross-entropy: the text among the different texts, and the pictures of a text among the pictures.

    A text that several pictures have stands in several columns and counts once.
    """
    equal = texts[:, None] == texts[None]
    copies = equal.sum(dim=1)  # [B]
    # Among the different texts: each column weighs one over its copies.
    among = logits - copies.log()[None]
    own = among.masked_fill(~equal, -torch.inf).logsumexp(dim=1)
    to_text = (among.logsumexp(dim=1) - own).mean()
    to_pictures = -(F.log_softmax(logits.t(), dim=1) * equal / copies[:, None]).sum(dim=1)  # a text's mean
    return (to_text + (to_pictures / copies).sum() / (1 / copies).sum()) / 2


def dino_stage(data: MiniDataset, model: ViTModel, steps: int, batch: int = DINO_BATCH) -> Stage:
    """SimCLR's NT-Xent (Chen 2020) between two views of one object; no labels, no captions.

    The two views have backgrounds of their own, and the colours of many are turned or taken away: background or
    colour alone would otherwise be all that the encoder looks at. The projection head is thrown away after training.
    """
    width = _VISION["hidden_size"]
    head = nn.Sequential(nn.Linear(width, 256), nn.GELU(), nn.Linear(256, 96)).to(next(model.parameters()).device)

    def loss(generator: torch.Generator) -> dict[str, Tensor]:
        objects = _distinct(batch // world_size(), len(data), generator)
        both = [augmented(_pictures(data, objects, generator), generator, smallest=0.6) for _ in range(2)]
        crops = worn(recoloured(torch.cat(both), generator), generator)
        features = F.normalize(head(model(pixel_values=crops).last_hidden_state[:, 0]).float(), dim=1)
        itself = torch.eye(len(crops), dtype=torch.bool, device=crops.device)
        logits = (features @ features.t() / _TEMPERATURE).masked_fill(itself, -1e9)
        partner = torch.arange(len(crops), device=crops.device).roll(len(objects))
        return {"loss": F.cross_entropy(logits, partner)}

    return Stage(
        name="dino", models={"dino": model, "head": head}, losses={"loss": (1.0, loss)}, steps=steps, lr=1e-3,
        weight_decay=0.05, warmup=300, ema_decay=0.995,
    )  # fmt: skip


def _distinct(count: int, total: int, generator: torch.Generator) -> Tensor:
    """[min(count, total)] different numbers below `total`."""
    return torch.rand(total, generator=generator, device=generator.device).argsort()[:count]


def _pictures(data: MiniDataset, objects: Tensor, generator: torch.Generator) -> Tensor:
    rgba = data.random_renders(objects, generator)
    return composite(rgba, random_scenes(len(objects), rgba.shape[1], generator)[0])
