"""How good the shipped weights are on objects they have not seen: the figures of their model card.

python benchmarks/judges.py
"""

import json

import torch
import tyro
from torch import Tensor

from dreamdist3d.backbones import load_backbone
from dreamdist3d.eval import MiniClip, MiniDino
from dreamdist3d.mini.autoencoder import psnr
from dreamdist3d.mini.dataset import make_object
from dreamdist3d.mini.families import FAMILIES
from dreamdist3d.mini.render import composite, random_backgrounds

_TRAINING_SEED, _HELD_OUT_SEED = 0, 1


def main(objects: int = 200, neighbours: int = 600) -> None:
    """Measure on four views each of `objects` unseen objects; `neighbours` training renders are searched."""
    backgrounds = random_backgrounds(4 * objects, torch.Generator().manual_seed(0)).view(objects, 4, 3)
    white = torch.ones(objects, 4, 3)
    rgba, families = world(_HELD_OUT_SEED, objects)
    pictures = composite(rgba, white).flatten(0, 1) / 2 + 0.5
    trained, trained_families = world(_TRAINING_SEED, neighbours)
    trained = composite(trained[:, 0], torch.ones(neighbours, 3)) / 2 + 0.5
    result = {
        "autoencoder_psnr_db": psnr(load_backbone("mini").vae, composite(rgba, backgrounds).flatten(0, 1)),
        "clip_family_accuracy": named(pictures, families, "a {}"),
        "clip_family_accuracy_photo": named(pictures, families, "a photo of a {}"),
        **dino_figures(pictures, families, trained, trained_families),
    }
    print(json.dumps({name: round(value, 3) for name, value in result.items()}))


def world(seed: int, objects: int) -> tuple[Tensor, Tensor]:
    """Renders [N, 4, S, S, 4] and family numbers [N] of the first objects of a world."""
    made = [make_object(seed, index, sets=1) for index in range(objects)]
    names = list(FAMILIES)
    families = torch.tensor([names.index(truth["family"]) for *_, truth in made])
    return torch.stack([torch.from_numpy(pictures) for pictures, *_ in made]), families


def named(pictures: Tensor, families: Tensor, form: str) -> float:
    """Share of the pictures that the CLIP judge calls by their family's name."""
    judge = MiniClip()
    chosen = (judge.encode(pictures) @ judge.encode_text([form.format(name) for name in FAMILIES]).t()).argmax(dim=1)
    return float((chosen == families.repeat_interleave(4)).float().mean())


def dino_figures(pictures: Tensor, families: Tensor, trained: Tensor, trained_families: Tensor) -> dict[str, float]:
    """Does the nearest training render show the family, and is an object more like itself than like its kin?"""
    judge = MiniDino()
    features = judge.encode(pictures)
    nearest = trained_families[(features @ judge.encode(trained).t()).argmax(dim=1)]
    views = features.unflatten(0, (-1, 4))
    own = (views[:, 0] * views[:, 2]).sum(dim=-1)
    kin = (views[:, 0] * views.roll(-len(FAMILIES), 0)[:, 2]).sum(dim=-1)
    return {
        "dino_nearest_family": float((nearest == families.repeat_interleave(4)).float().mean()),
        "dino_own_above_kin": float((own > kin).float().mean()),
    }


if __name__ == "__main__":
    tyro.cli(main)
