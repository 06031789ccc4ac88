"""Pairs of the miniature world: an object and five others that differ in one attribute each, of one view and ground."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from dreamdist3d.assistant.edit import Edit
from dreamdist3d.assistant.generator.bank import Pair
from dreamdist3d.assistant.intentions import Seen
from dreamdist3d.assistant.pictures import VARIED, changes_between, look_at, seen_of, variant
from dreamdist3d.assistant.subjects import WordSubject, asked_text
from dreamdist3d.mini.families import FAMILIES, build
from dreamdist3d.mini.palette import COLOR_NAMES
from dreamdist3d.mini.render import composite

_ASKED, _WHOLE, _BARE = 5, 2, 1  # how often each kind of words stands among a pair's texts


def make_scene(seed: int, index: int) -> tuple[Tensor, list[Seen]]:
    """Scene `index` of the world `seed`: pictures [6, 3, 64, 64] in [0, 1], the last of another shape."""
    rng = np.random.default_rng([seed, index, len(VARIED)])
    family = list(FAMILIES)[index % len(FAMILIES)]
    shape, other = (int(number) for number in rng.integers(2**31, size=2))
    base = build(family, np.random.default_rng(shape), str(rng.choice(COLOR_NAMES)))
    reshaped = build(
        family,
        np.random.default_rng(other),
        base.main_color,
        part_color=base.part_color,
        pattern=base.pattern,
        second_color=base.second_color or None,
        material=base.material,
    )
    specs = [base, *(variant(base, shape, kind, rng) for kind in VARIED), reshaped]
    ground = 1.0 if rng.random() < 0.5 else rng.uniform(0.35, 1.0)
    rgba = look_at(specs, rng)
    return composite(rgba, torch.full((len(specs), 3), float(ground))) / 2 + 0.5, [seen_of(spec) for spec in specs]


def scenes(count: int, seed: int) -> Iterator[tuple[Tensor, list[Pair]]]:
    """Scenes with the pairs that words can ask for."""
    for index in range(count):
        pictures, seen = make_scene(seed, index)
        yield pictures, pairs_of(seen)


def pairs_of(seen: list[Seen]) -> list[Pair]:
    """All ordered pairs of a scene, and each picture with itself; not where a shape differs that no word tells."""
    found = []
    for i, before in enumerate(seen):
        for k, after in enumerate(seen):
            reshaped = (i == len(seen) - 1) != (k == len(seen) - 1)
            if reshaped and after.shape in ("", before.shape):
                continue
            asked = {change.kind: change.value for change in changes_between(before, after)}
            asked |= {"shape": after.shape} if reshaped else {}
            found.append(Pair(i, k, texts_of(before, asked)))
    return found


def texts_of(seen: Seen, asked: dict[str, str]) -> tuple[str, ...]:
    """What is asked for alone, all that is to be seen, and the bare name."""
    subject = WordSubject(seen.family)
    whole = subject.worded(Edit(asked=asked), seen)
    return (
        *[asked_text(asked, seen.family)] * _ASKED,
        *[subject.text(whole)] * _WHOLE,
        *[asked_text({}, seen.family)] * _BARE,
    )
