"""Pairs to learn from, encoded: a picture given, the picture wanted of it, and the words for that.

`NAME.npy` in float16 (mapped, not read: a full-size bank is larger than memory) and `pairs.jsonl`.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from dreamdist3d.assistant.generator.patches import Patches
from dreamdist3d.assistant.inputs import PictureInputs
from dreamdist3d.backbones import Backbone
from dreamdist3d.files import write_text
from dreamdist3d.progress import bar

_NAMES = ("latents", "wanted", "patches")
_CHUNK = 64


@dataclass(frozen=True)
class Pair:
    """Places of the picture given and of the one wanted; `texts`: words for it, of which a step takes one."""

    source: int
    target: int
    texts: tuple[str, ...]


@dataclass(frozen=True)
class Encoders:
    """Frozen: the backbone's autoencoder, CLIP and the patches'."""

    backbone: Backbone
    inputs: PictureInputs
    patches: Patches

    @torch.no_grad()
    def __call__(self, pictures: Tensor) -> dict[str, Tensor]:
        """What is kept of [N, 3, H, W] in [0, 1]."""
        made = self.backbone.encode_images(pictures * 2 - 1), self.inputs(pictures)[1], self.patches(pictures)
        return {name: value.cpu().half() for name, value in zip(_NAMES, made, strict=True)}


class Bank:
    """What `write_bank` wrote."""

    def __init__(self, folder: Path) -> None:
        self._arrays = {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in _NAMES}
        lines = (folder / "pairs.jsonl").read_text(encoding="utf-8").splitlines()
        self.pairs = [Pair(one["source"], one["target"], tuple(one["texts"])) for one in map(json.loads, lines)]

    def take(self, name: str, places: Sequence[int]) -> Tensor:
        """`latents` [n, c, h, w], `wanted` [n, S] or `patches` [n, P, F] of pictures, in float32."""
        return torch.from_numpy(np.asarray(self._arrays[name][list(places)])).float()


def write_bank(folder: Path, scenes: Iterable[tuple[Tensor, Sequence[Pair]]], count: int, encode: Encoders) -> None:
    """Encode `count` scenes of n pictures each [n, 3, H, W] in [0, 1], with pairs by their places among these."""
    folder.mkdir(parents=True, exist_ok=True)
    arrays: dict[str, np.memmap] = {}
    waiting: list[Tensor] = []
    lines, first, written = [], 0, 0
    with bar("pairs", count) as progress:
        for number, (pictures, pairs) in enumerate(scenes, start=1):
            waiting.append(pictures)
            moved = ({"source": first + p.source, "target": first + p.target, "texts": p.texts} for p in pairs)
            lines += [json.dumps(one) + "\n" for one in moved]
            first += len(pictures)
            if first - written >= _CHUNK or number == count:
                for name, part in encode(torch.cat(waiting)).items():
                    shape = (count * len(pictures), *part.shape[1:])
                    if name not in arrays:
                        arrays[name] = np.lib.format.open_memmap(folder / f"{name}.npy", "w+", np.float16, shape)
                    arrays[name][written:first] = part.numpy()
                waiting, written = [], first
            progress.advance()
    for array in arrays.values():
        array.flush()
    # Last, so that a folder with this file in it is a whole one.
    write_text(folder / "pairs.jsonl", "".join(lines))
