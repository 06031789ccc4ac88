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
_GRAY_SHARE = 0.4
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
    """InfoNCE over pictures and captions (CLIP, Radford 2021), once with a detailed caption and once with the barest.

    A small world repeats its captions: equal ones are one text, and all its pictures are its positives. Detailed
    captions teach colours, which tell most pairs of a batch apart; the bare ones keep the family from being ignored.
    """
    ids = tokenize(tokenizer, [caption for known in data.truth for caption in known["captions"]])
    ids = ids[:, : int((ids != tokenizer.eos_token_id).sum(dim=1).max()) + 1]

    def loss(generator: torch.Generator) -> dict[str, Tensor]:
        objects = torch.randperm(len(data), generator=generator)[: _CLIP_BATCH // world_size()]
        pictures = _augment(_pictures(data, objects, generator), generator, smallest=0.7)
        detailed = torch.randint(CAPTIONS_PER_OBJECT - 1, objects.shape, generator=generator)
        terms = []
        rows = objects * CAPTIONS_PER_OBJECT
        for caption in (detailed, CAPTIONS_PER_OBJECT - 1):
            texts, chosen = ids[rows + caption].unique(dim=0, return_inverse=True)
            terms.append((texts, chosen))
        output = model(input_ids=torch.cat([texts for texts, _ in terms]), pixel_values=pictures)
        split = output.logits_per_image.split([len(texts) for texts, _ in terms], dim=1)
        return {"loss": sum(contrast(logits, chosen) for logits, (_, chosen) in zip(split, terms, strict=True)) / 2}

    return Stage(
        name="clip", models={"clip": model}, loss=loss, steps=steps, lr=2e-3, weight_decay=0.05, ema_decay=0.99
    )


def contrast(
    logits: Tensor,  # [B, T]
    chosen: Tensor,  # [B], each picture's text
) -> Tensor:
    """Symmetric cross-entropy: the text among the texts, and the pictures of a text among the pictures."""
    positives = F.one_hot(chosen, logits.shape[1]).float().t()
    positives = positives / positives.sum(dim=1, keepdim=True)
    return (F.cross_entropy(logits, chosen) + F.cross_entropy(logits.t(), positives)) / 2


def dino_stage(data: MiniDataset, model: ViTModel, steps: int) -> Stage:
    """SimCLR's NT-Xent (Chen 2020) between two views of one object; no labels, no captions.

    The two views have backgrounds of their own, and some are gray: background or colour alone would otherwise be
    all that the encoder looks at. The projection head is thrown away after training.
    """
    head = nn.Sequential(nn.Linear(_VISION["hidden_size"], 192), nn.GELU(), nn.Linear(192, 64))

    def loss(generator: torch.Generator) -> dict[str, Tensor]:
        objects = torch.randperm(len(data), generator=generator)[: _DINO_BATCH // world_size()]
        crops = torch.cat([_augment(_pictures(data, objects, generator), generator, smallest=0.6) for _ in range(2)])
        crops = _some_gray(crops, generator)
        features = F.normalize(head(model(pixel_values=crops).last_hidden_state[:, 0]), dim=1)
        logits = features @ features.t() / _TEMPERATURE
        logits.fill_diagonal_(-1e9)
        partner = torch.arange(len(crops)).roll(len(objects))
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


def _some_gray(pictures: Tensor, generator: torch.Generator) -> Tensor:
    """A share `_GRAY_SHARE` of the pictures without their colours."""
    gray = v2.functional.rgb_to_grayscale(pictures, num_output_channels=3)
    is_gray = torch.rand(len(pictures), 1, 1, 1, generator=generator) < _GRAY_SHARE
    return torch.where(is_gray, gray, pictures)
