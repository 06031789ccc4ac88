"""How good the shipped weights are on objects they have not seen: the figures of their model card.

python benchmarks/judges.py
"""

import json

import numpy as np
import torch
import trimesh
import tyro
from torch import Tensor

from dreamdist3d.backbones import load_backbone
from dreamdist3d.eval import MiniClip, MiniDino, render_views
from dreamdist3d.mesh.axes import to_gltf
from dreamdist3d.mini.autoencoder import psnr
from dreamdist3d.mini.backgrounds import random_scenes
from dreamdist3d.mini.dataset import make_object
from dreamdist3d.mini.families import FAMILIES, ObjectSpec, build
from dreamdist3d.mini.render import IMAGE_SIZE, composite
from dreamdist3d.mini.surface import PATTERNS

_TRAINING_SEED, _HELD_OUT_SEED = 2, 1  # a world the judges were trained on, and one that nobody was
_EDGE = 0.04  # a pattern's colours are put on triangles of at most this size


def main(objects: int = 200, neighbours: int = 600) -> None:
    """Measure on four views each of `objects` unseen objects; `neighbours` training renders are searched."""
    backgrounds, _ = random_scenes(4 * objects, IMAGE_SIZE, torch.Generator().manual_seed(0))
    white = torch.ones(objects, 4, 3)
    rgba, families, truth = world(_HELD_OUT_SEED, objects)
    pictures = composite(rgba, white).flatten(0, 1) / 2 + 0.5
    trained, trained_families, _ = world(_TRAINING_SEED, neighbours)
    trained = composite(trained[:, 0], torch.ones(neighbours, 3)) / 2 + 0.5
    result = {
        "autoencoder_psnr_db": psnr(load_backbone("mini").vae, composite(rgba.flatten(0, 1), backgrounds)),
        "clip_family_accuracy": named(pictures, families, "a {}"),
        "clip_family_accuracy_photo": named(pictures, families, "a photo of a {}"),
        "clip_family_accuracy_meshes": named(mesh_renders(objects), families, "a {}"),
        "clip_pattern_accuracy": patterns_named(pictures, truth),
        **dino_figures(pictures, families, trained, trained_families),
    }
    print(json.dumps({name: round(value, 3) for name, value in result.items()}))


def world(seed: int, objects: int) -> tuple[Tensor, Tensor, list[dict]]:
    """Renders [N, 4, S, S, 4], family numbers [N] and truth of the first objects of a world."""
    made = [make_object(seed, index, sets=1) for index in range(objects)]
    names = list(FAMILIES)
    families = torch.tensor([names.index(truth["family"]) for *_, truth in made])
    return torch.stack([torch.from_numpy(pictures) for pictures, *_ in made]), families, [truth for *_, truth in made]


def named(pictures: Tensor, families: Tensor, form: str) -> float:
    """Share of the pictures that the CLIP judge calls by their family's name."""
    judge = MiniClip()
    chosen = (judge.encode(pictures) @ judge.encode_text([form.format(name) for name in FAMILIES]).t()).argmax(dim=1)
    return float((chosen == families.repeat_interleave(4)).float().mean())


def mesh_renders(objects: int) -> Tensor:
    """Pictures [4 N, 3, S, S] of held-out objects as unlit coloured meshes, by the camera that scores assets."""
    made = []
    for index in range(objects):
        rng = np.random.default_rng([_HELD_OUT_SEED, index])
        made.append(render_views(as_mesh(build(list(FAMILIES)[index % len(FAMILIES)], rng))))
    return torch.from_numpy(np.concatenate(made)).movedim(-1, 1) / 255


def as_mesh(spec: ObjectSpec) -> trimesh.Trimesh:
    """An object in glTF's axes with its paint on its vertices."""
    whole = spec.mesh()
    vertices, faces, origin = trimesh.remesh.subdivide_to_size(whole.vertices, whole.faces, _EDGE, return_index=True)
    corners = vertices[faces]  # [F, 3, 3]
    colors = spec.surface().albedo(corners.mean(axis=1), whole.face_normals[origin], origin)
    rgba = np.round(255 * np.column_stack([colors, np.ones(len(colors))])).astype(np.uint8)
    return trimesh.Trimesh(
        to_gltf(corners.reshape(-1, 3)),
        np.arange(3 * len(faces)).reshape(-1, 3),
        vertex_colors=rgba.repeat(3, axis=0),
        process=False,
    )


def patterns_named(pictures: Tensor, truth: list[dict]) -> float:
    """Share of the pictures whose pattern the CLIP judge names, given family, main colour and, if any, the second."""
    judge, right = MiniClip(), []
    for known, four in zip(truth, judge.encode(pictures).unflatten(0, (-1, 4)), strict=True):
        colors = f"{known['main_color']} and {known['second_color'] or 'white'} {known['family']}"
        plain = f"a plain {known['main_color']} {known['family']}"
        texts = [plain, *(f"a {name} {colors}" for name in PATTERNS[1:])]
        chosen = (four @ judge.encode_text(texts).t()).argmax(dim=1)
        right.append(chosen == PATTERNS.index(known["pattern"]))
    return float(torch.stack(right).float().mean())


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
