"""Mined clusters on disk: a bank of encoded pictures, and clusters as places in it.

    mined.json            what it is for, what was filtered and why
    clusters.jsonl        a line a cluster
    bank/00000.safetensors  some hundred pictures each: `latents` f16 [n, c, h, w], `inputs` f16 [n, P, F], and
                            what is known of every picture as JSON

A picture that is in several clusters is kept once, and a shard is written whole or not at all, so that mining goes on
after any stop at the first shard that is not there.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from dreamdist3d.apprentice.inputs import patches_of
from dreamdist3d.errors import UserError
from dreamdist3d.files import read_json, write_atomic

SPLITS = ("train", "known", "unknown")
"""Clusters to learn from; held out, of kinds that are learned; held out, of kinds that are not."""


@dataclass(frozen=True)
class Picture:
    """What is known of a picture beside its pixels; only training reads it."""

    source: str
    captions: tuple[str, ...] = ()
    words: str = ""  # of exactly as many tokens as a prompt of the apprentice has, if there is such a caption
    edited: str = ""  # the caption that an edit would make, `{}` in the place of the prefix


@dataclass(frozen=True)
class Cluster:
    """Pictures of one subject or family, by their places in the bank."""

    name: str
    kind: str
    split: str  # of SPLITS
    pictures: tuple[int, ...]
    targets: tuple[int, ...] = ()  # what may be asked for beside them: other pictures of the same instance


@dataclass(frozen=True)
class Mined:
    """What a folder of clusters was mined for; clusters of another backbone teach nothing."""

    backbone: str
    fingerprint: str
    inputs: str  # name of `inputs`
    prefixes: tuple[str, ...] = ()  # words to edit by
    shards: int = 0
    filtered: dict[str, int] = field(default_factory=dict)  # how many clusters were left out, by reason
    failed: int = 0  # folders among them that could not be read


class Bank:
    """A folder that mining has finished.

    Raises:
        UserError: it is not there, not finished, or damaged.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)
        if not (self.folder / "mined.json").is_file():
            raise UserError(f"{self.folder} holds no mined clusters: run `dreamdist3d apprentice mine` first.")
        value: dict[str, Any] = read_json(self.folder / "mined.json")
        try:
            self.mined = Mined(**{**value, "prefixes": tuple(value["prefixes"])})
            lines = (self.folder / "clusters.jsonl").read_text("utf-8").splitlines()
            self.clusters = [_cluster(line) for line in lines]  # in the order of mining
        except (OSError, TypeError, KeyError, ValueError) as error:
            raise UserError(f"the clusters in {self.folder} are damaged ({error}): mine them again.") from error

    def split(self, name: str) -> list[Cluster]:
        """The clusters of one split."""
        return [cluster for cluster in self.clusters if cluster.split == name]

    @cached_property
    def pictures(self) -> list[Picture]:
        """What is known of every picture, by its place."""
        lines = [shard.metadata()["pictures"] for shard in self._shards]
        return [Picture(**{**one, "captions": tuple(one["captions"])}) for line in lines for one in json.loads(line)]

    def latents(self, places: Sequence[int]) -> Tensor:
        """float32 [n, c, h, w]."""
        return torch.stack([self._at("latents", place) for place in places]).float()

    def inputs(self, places: Sequence[int]) -> Tensor | None:
        """float32 [n, P, F], or None where the apprentice sees the latents themselves."""
        if "inputs" not in self._names:
            return None
        return torch.stack([self._at("inputs", place) for place in places]).float()

    @property
    def has_edits(self) -> bool:
        """Whether it is known what words before a caption make of it."""
        return bool(self.mined.prefixes) and any(picture.edited for picture in self.pictures)

    @property
    def input_shape(self) -> tuple[int, int]:
        """P and F of what an apprentice sees of a picture."""
        inputs = self.inputs([0])
        patches = patches_of(self.latents([0])) if inputs is None else inputs
        return patches.shape[1], patches.shape[2]

    @cached_property
    def _shards(self) -> list[Any]:
        paths = [shard_path(self.folder, number) for number in range(self.mined.shards)]
        try:
            return [safe_open(path, framework="pt") for path in paths]
        except (OSError, SafetensorError) as error:
            raise UserError(f"the pictures in {self.folder} are not whole ({error}): mine them again.") from error

    @cached_property
    def _slices(self) -> dict[str, list[tuple[Any, int]]]:
        """Every picture's shard, opened for reading single rows, and its row, by the tensor's name."""
        return {
            name: [
                (rows, row)
                for shard in self._shards
                if name in shard.keys()  # noqa: SIM118, it is no mapping; all folders of a shard may be left out
                for rows in [shard.get_slice(name)]
                for row in range(rows.get_shape()[0])
            ]
            for name in self._names
        }

    @cached_property
    def _names(self) -> set[str]:
        return {name for shard in self._shards for name in shard.keys()}  # noqa: SIM118

    def _at(self, name: str, place: int) -> Tensor:
        rows, row = self._slices[name][place]
        return rows[row : row + 1][0]


def shard_path(folder: Path, number: int) -> Path:
    """Where a shard's pictures lie."""
    return Path(folder) / "bank" / f"{number:05d}.safetensors"


def write_shard(folder: Path, number: int, tensors: dict[str, Tensor], pictures: Sequence[Picture], notes: Any) -> None:
    """Write a shard, whole or not at all, with notes of the miner's own that JSON can hold."""
    halves = {name: tensor.detach().cpu().half().contiguous() for name, tensor in tensors.items()}
    about = {"pictures": json.dumps([asdict(picture) for picture in pictures]), "notes": json.dumps(notes)}
    write_atomic(shard_path(folder, number), lambda path: save_file(halves, path, about))


def notes_of(folder: Path, number: int) -> Any:
    """The miner's notes on a shard."""
    with safe_open(shard_path(folder, number), framework="pt") as shard:
        return json.loads(shard.metadata()["notes"])


def finish(folder: Path, mined: Mined, clusters: Sequence[Cluster]) -> None:
    """Write clusters and summary, the summary last: a folder with it is a whole one."""
    lines = "".join(json.dumps(asdict(cluster)) + "\n" for cluster in clusters)
    write_atomic(folder / "clusters.jsonl", lambda path: path.write_text(lines, "utf-8"))
    write_atomic(folder / "mined.json", lambda path: path.write_text(json.dumps(asdict(mined), indent=2), "utf-8"))


def _cluster(line: str) -> Cluster:
    value: dict[str, Any] = json.loads(line)
    return Cluster(**{**value, "pictures": tuple(value["pictures"]), "targets": tuple(value["targets"])})
