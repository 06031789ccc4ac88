"""The judges: encoders that score pictures and share nothing with the generator, trained on renders alone.

A contrastive picture-text pair (CLIP) and a self-supervised picture encoder that sees no word (SimCLR).
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.transforms import v2
from transformers import CLIPConfig, CLIPModel, CLIPTokenizer, CLIPVisionConfig, ViTConfig, ViTModel

from dreamdist3d.mini.captions import CAPTIONS_PER_OBJECT
from dreamdist3d.mini.dataset import MiniDataset
from dreamdist3d.mini.loop import Stage
from dreamdist3d.mini.parallel import world_size
from dreamdist3d.mini.render import IMAGE_SIZE, composite, random_backgrounds
from dreamdist3d.mini.text import WIDTH, text_config, tokenize

_CLIP_BATCH, _DINO_BATCH = 96, 96
_TEMPERATURE = 0.15
_VISION = {
    "hidden_size": 96,
    "intermediate_size": 288,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "image_size": IMAGE_SIZE,
    "patch_size": 8,
}


def build_clip(tokenizer: CLIPTokenizer) -> CLIPModel:
    """A small CLIP with its own text and picture towers."""
    text = text_config(tokenizer, layers=2).to_dict()
    vision = CLIPVisionConfig(**_VISION, projection_dim=WIDTH).to_dict()
    return CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=WIDTH))


def build_dino() -> ViTModel:
    """A small vision transformer; its class token is the feature."""
    return ViTModel(ViTConfig(**_VISION), add_pooling_layer=False)


def clip_stage(data: MiniDataset, tokenizer: CLIPTokenizer, model: CLIPModel, steps: int) -> Stage:
    """Symmetric InfoNCE over pictures and captions (CLIP, Radford 2021).

    Pairs with the same caption in a batch are each other's positives, not negatives.
    """
    captions = [c for known in data.truth for c in known["captions"]]
    ids = tokenize(tokenizer, captions)
    _, same = ids.unique(dim=0, return_inverse=True)

    def loss(generator: torch.Generator) -> dict[str, Tensor]:
        objects = torch.randperm(len(data), generator=generator)[: _CLIP_BATCH // world_size()]
        pictures = _augment(_pictures(data, objects, generator), generator, smallest=0.7)
        rows = objects * CAPTIONS_PER_OBJECT + torch.randint(CAPTIONS_PER_OBJECT, objects.shape, generator=generator)
        output = model(input_ids=ids[rows], pixel_values=pictures)
        target = (same[rows][:, None] == same[rows][None]).float()
        target = target / target.sum(dim=1, keepdim=True)
        logits = output.logits_per_image
        return {"loss": (F.cross_entropy(logits, target) + F.cross_entropy(logits.t(), target)) / 2}

    return Stage(
        name="clip", models={"clip": model}, loss=loss, steps=steps, lr=1e-3, weight_decay=0.05, ema_decay=0.99
    )


def dino_stage(data: MiniDataset, model: ViTModel, steps: int) -> Stage:
    """SimCLR's NT-Xent between two crops of one render (Chen 2020); no labels, no captions, mild colour jitter.

    The projection head is thrown away after training.
    """
    head = nn.Sequential(nn.Linear(_VISION["hidden_size"], 192), nn.GELU(), nn.Linear(192, 64))

    def loss(generator: torch.Generator) -> dict[str, Tensor]:
        objects = torch.randperm(len(data), generator=generator)[: _DINO_BATCH // world_size()]
        pictures = _pictures(data, objects, generator)
        crops = torch.cat([_augment(pictures, generator, smallest=0.5) for _ in range(2)])
        features = F.normalize(head(model(pixel_values=crops).last_hidden_state[:, 0]), dim=1)
        logits = features @ features.t() / _TEMPERATURE
        logits.fill_diagonal_(-1e9)
        partner = torch.arange(len(crops)).roll(len(pictures))
        return {"loss": F.cross_entropy(logits, partner)}

    return Stage(
        name="dino", models={"dino": model, "head": head}, loss=loss, steps=steps, lr=1e-3, weight_decay=0.05,
        ema_decay=0.99,
    )  # fmt: skip


def _pictures(data: MiniDataset, objects: Tensor, generator: torch.Generator) -> Tensor:
    views = torch.randint(data.renders.shape[1], objects.shape, generator=generator)
    rgba = torch.from_numpy(data.renders[objects.numpy(), views.numpy()])
    return composite(rgba, random_backgrounds(len(objects), generator))


def _augment(pictures: Tensor, generator: torch.Generator, smallest: float) -> Tensor:
    """Per picture: a random square crop of at least `smallest` of the side, a flip, brightness and contrast."""
    out = []
    for picture in pictures:
        share = smallest + (1 - smallest) * float(torch.rand((), generator=generator))
        side = max(1, round(share * IMAGE_SIZE))
        top, left = torch.randint(0, IMAGE_SIZE - side + 1, (2,), generator=generator).tolist()
        crop = v2.functional.resized_crop(picture, top, left, side, side, [IMAGE_SIZE, IMAGE_SIZE], antialias=True)
        out.append(crop.flip(-1) if torch.rand((), generator=generator) < 0.5 else crop)
    gain = 1 + 0.3 * (torch.rand(len(pictures), 1, 1, 1, generator=generator) - 0.5)
    lift = 0.2 * (torch.rand(len(pictures), 1, 1, 1, generator=generator) - 0.5)
    return (torch.stack(out) * gain + lift).clamp(-1, 1)
