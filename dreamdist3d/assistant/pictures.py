"""Objects of the miniature world with their variants: one changed attribute each, of one shape, seen alike.

Any ordered pair of a group is a picture, the changes that were asked for, and the picture that should come of them.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from dreamdist3d.assistant.grammar import words
from dreamdist3d.assistant.inputs import PictureInputs
from dreamdist3d.assistant.intentions import Change, Proposal, Seen
from dreamdist3d.files import write_atomic
from dreamdist3d.lift.cameras import sample_cameras
from dreamdist3d.mini.families import FAMILIES, ObjectSpec, build
from dreamdist3d.mini.palette import COLOR_NAMES
from dreamdist3d.mini.render import MINI_CAMERAS, composite, render
from dreamdist3d.mini.surface import MATERIALS, PATTERNS
from dreamdist3d.progress import bar

GROUP = 4  # an object and three variants
VARIED = ("color", "part", "pattern", "material")
_CHUNK = 64


@dataclass(frozen=True)
class Pictures:
    """G groups of `GROUP` pictures: what each shows, and what the frozen encoders make of it."""

    seen: list[list[Seen]]  # [G][4]
    features: Tensor  # [G, 4, P, F]
    wanted: Tensor  # [G, 4, S]

    def __len__(self) -> int:
        return len(self.seen)


def make_group(seed: int, index: int) -> tuple[Tensor, list[Seen]]:
    """Group `index` of the world `seed`: pictures [4, 3, 64, 64] in [0, 1], and what they show."""
    specs, _, rng = group_specs(seed, index)
    rgba = look_at(specs, rng)
    behind = torch.tensor(rng.uniform(0.35, 1.0, (GROUP, 1)), dtype=torch.float32).expand(-1, 3)
    behind = torch.where(torch.tensor(rng.random((GROUP, 1)) < 0.4), torch.ones(GROUP, 3), behind)
    return composite(rgba, behind) / 2 + 0.5, [seen_of(spec) for spec in specs]


def group_specs(seed: int, index: int) -> tuple[list[ObjectSpec], int, np.random.Generator]:
    """The objects of a group, the seed of their shape, and what draws the view next."""
    rng = np.random.default_rng([seed, index])
    family = list(FAMILIES)[index % len(FAMILIES)]
    shape, color = int(rng.integers(2**31)), str(rng.choice(COLOR_NAMES))
    base = build(family, np.random.default_rng(shape), color)
    return [base, *(variant(base, shape, str(kind), rng) for kind in rng.permutation(VARIED)[: GROUP - 1])], shape, rng


def look_at(specs: Sequence[ObjectSpec], rng: np.random.Generator) -> Tensor:
    """Objects from one random view: uint8 [N, 64, 64, 4], RGB and coverage."""
    cameras = sample_cameras(MINI_CAMERAS, 1, torch.Generator().manual_seed(int(rng.integers(2**31)))).at([0])
    return torch.from_numpy(np.concatenate([render(s.mesh(), cameras, surface=s.surface()) for s in specs]))


def variant(base: ObjectSpec, shape: int, kind: str, rng: np.random.Generator) -> ObjectSpec:
    """The object of this shape's seed with another value of one attribute of `VARIED`."""
    values = {
        "main_color": base.main_color,
        "part_color": base.part_color,
        "pattern": base.pattern,
        "second_color": base.second_color or None,
        "material": base.material,
    }

    def other(among: tuple[str, ...], *than: str) -> str:
        return str(rng.choice([value for value in among if value not in than]))

    if kind == "color":
        values["main_color"] = other(COLOR_NAMES, base.main_color, base.second_color, base.part_color)
    elif kind == "part":
        values["part_color"] = other(COLOR_NAMES, base.part_color, base.main_color)
    elif kind == "pattern":
        values["pattern"] = other(PATTERNS, base.pattern)
        values["second_color"] = base.second_color or other(COLOR_NAMES, base.main_color)
    else:
        values["material"] = other(MATERIALS, base.material)
    return build(base.family, np.random.default_rng(shape), **values)


def seen_of(spec: ObjectSpec) -> Seen:
    """The words that are true of an object."""
    shape = next((word for word in spec.shape_words if word in words.SHAPES[spec.family].split()), "")
    return Seen(
        spec.family, spec.main_color, spec.pattern, spec.material, spec.part_color, spec.second_color or "", shape
    )


def changes_between(before: Seen, after: Seen) -> Proposal:
    """What has to be asked for to come from one picture of a group to another."""
    names = (("color", "color"), ("part", "part_color"), ("pattern", "pattern"), ("second", "second"))
    changes = [
        Change(kind, getattr(after, name))
        for kind, name in (*names, ("material", "material"))
        if getattr(after, name) != getattr(before, name) and getattr(after, name)
    ]
    return tuple(changes)


def write_pictures(folder: Path, groups: int, seed: int, inputs: PictureInputs) -> None:
    """Render and encode `groups` groups into `folder`: `features.npy`, `wanted.npy` (float16) and `seen.jsonl`."""
    folder.mkdir(parents=True, exist_ok=True)
    features, wanted, seen, waiting = [], [], [], []
    with bar(f"pictures {folder.name}", groups) as progress:
        for index in range(groups):
            pictures, truth = make_group(seed, index)
            waiting.append(pictures)
            seen.append([vars(one) for one in truth])
            if len(waiting) * GROUP >= _CHUNK or index == groups - 1:
                made = inputs(torch.cat(waiting))
                features.append(made[0].half())
                wanted.append(made[1].half())
                waiting = []
            progress.advance()
    lines = "".join(json.dumps(group) + "\n" for group in seen)
    write_atomic(folder / "seen.jsonl", lambda path: path.write_text(lines, encoding="utf-8"))
    write_atomic(folder / "wanted.npy", lambda path: np.save(path, torch.cat(wanted).numpy()))
    # Last, so that a folder with `features.npy` in it is a whole one.
    write_atomic(folder / "features.npy", lambda path: np.save(path, torch.cat(features).numpy()))


def load_pictures(folder: Path) -> Pictures:
    """What `write_pictures` wrote."""
    lines = (folder / "seen.jsonl").read_text(encoding="utf-8").splitlines()
    features, wanted = (torch.from_numpy(np.load(folder / f"{name}.npy")).float() for name in ("features", "wanted"))
    return Pictures(
        [[Seen(**one) for one in json.loads(line)] for line in lines],
        features.unflatten(0, (-1, GROUP)),
        wanted.unflatten(0, (-1, GROUP)),
    )
