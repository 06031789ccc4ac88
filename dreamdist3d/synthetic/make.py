"""A data set from folders of classes: learned, drawn, written; stopped at any moment, it goes on."""

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from functools import lru_cache
from itertools import groupby
from pathlib import Path
from typing import Any

from dreamdist3d.backbones import Backbone, load_backbone
from dreamdist3d.errors import Stopped, UserError
from dreamdist3d.files import ensure_folder, read_json, safe_name, write_atomic, write_json, write_text
from dreamdist3d.progress import Bar, bar
from dreamdist3d.prompts import SoftPromptEncoder
from dreamdist3d.prompts.batches import embed_draws
from dreamdist3d.prompts.looks.pictures import Sampling, as_image, at_once, sample_prompts
from dreamdist3d.stopping import StopSignal
from dreamdist3d.synthetic.classes import Class, open_classes
from dreamdist3d.synthetic.settings import DatasetConfig, Planned, noise_seed, plan_picture
from dreamdist3d.synthetic.shards import key_of, shard_path, write_shard

_RECORD, _MANIFEST, _IMAGES, _WAITING = "dataset.json", "manifest.csv", "images", ".pictures"


def make_dataset(classes: Path, backbone: Backbone, config: DatasetConfig, out: Path) -> list[str]:
    """Learn every class, draw `config.per_class` pictures of each, and write them below `out`.

    Leaves `learned/CLASS.safetensors`, `images/CLASS/000000.png` or `shard-000000.tar`, `manifest.csv` (one line a
    picture: its file, class, draw, words) and `dataset.json`. What is there is not made again, and on one CPU the
    result does not depend on where it was stopped.

    Returns:
        What kept classes from being used, one line each.

    Raises:
        Stopped: Ctrl-C or SIGTERM; what was made is kept.
        UserError: as `open_classes`; `out` holds another data set or cannot be written.
    """
    ensure_folder(out)
    asked = {**_plain(config), "backbone": backbone.name, "backbone_sha256": backbone.identity}
    _record(out, asked)  # before anything is learned by other settings than the rest
    found, failed = open_classes(classes, out / "learned", backbone, config.learn)
    _record(out, asked | {"classes": {one.name: one.source.content_hash for one in found}})
    shards = list(_shards(config, found))
    done = [all(path.is_file() for path in _files(out, config, number, part)) for number, part in enumerate(shards)]
    behind = sum(len(part) for part, whole in zip(shards, done, strict=True) if whole)
    drawer = _Drawer(found, backbone, config)
    with StopSignal() as stop, bar("drawing", config.per_class * len(found), done=behind) as progress:
        for number, part in enumerate(shards):
            if not done[number]:
                drawer.draw(_places(out, config, part), part, stop, progress)
                _pack(out, config, number, part)
    _write_manifest(out, config, shards)
    return failed


class _Drawer:
    """Makes the pictures of a part, class by class, in batches that are always the same."""

    def __init__(self, classes: Sequence[Class], backbone: Backbone, config: DatasetConfig) -> None:
        self._classes, self._config = classes, config
        self._given = backbone
        self._load = lru_cache(maxsize=1)(load_backbone)  # classes of one backbone follow each other

    def draw(self, places: Sequence[Path], part: Sequence[Planned], stop: StopSignal, progress: Bar) -> None:
        """Write what is missing of `places`."""
        together = sorted(zip(part, places, strict=True), key=lambda pair: (pair[0].label, pair[0].index))
        for label, several in groupby(together, key=lambda pair: pair[0].label):
            pairs = list(several)
            backbone = self._backbone(self._classes[label])
            for start in range(0, len(pairs), at_once(backbone)):
                batch = pairs[start : start + at_once(backbone)]
                if not all(place.is_file() for _, place in batch):
                    if stop.requested:
                        raise Stopped("drawing stopped; what was made is kept: the same command goes on from there.")
                    self._make(backbone, self._classes[label], batch)
                progress.advance(self._classes[label].name, steps=len(batch))

    def _backbone(self, one: Class) -> Backbone:
        if one.backbone in (self._given.name, self._given.source):
            return self._given
        return self._load(one.backbone, str(self._given.device))

    def _make(self, backbone: Backbone, one: Class, batch: Sequence[tuple[Planned, Path]]) -> None:
        config = self._config
        one.source.check_model(backbone)
        encoder = SoftPromptEncoder(backbone.tokenizer, backbone.text_encoder)
        text = embed_draws(one.source, [planned.draw for planned, _ in batch], encoder)
        negative = encoder.encode_text([""]).hidden[0].detach()
        sampling = Sampling(config.guidance, config.steps, config.rescale, noise_seed=noise_seed(config, one.name))
        pictures = sample_prompts(backbone, text, negative, sampling, first=batch[0][0].index)
        for (_, place), picture in zip(batch, pictures, strict=True):
            write_atomic(place, as_image(picture).save, is_kept=False)


def _shards(config: DatasetConfig, classes: Sequence[Class]) -> Iterator[list[Planned]]:
    """Pictures in turn of every class, `config.shard` at a time."""
    total = config.per_class * len(classes)
    for start in range(0, total, config.shard):
        yield [
            plan_picture(config, number % len(classes), one.name, number // len(classes), one.source)
            for number in range(start, min(start + config.shard, total))
            for one in (classes[number % len(classes)],)
        ]


def _files(out: Path, config: DatasetConfig, number: int, part: Sequence[Planned]) -> list[Path]:
    """What a finished part leaves."""
    return [shard_path(out, number)] if config.format == "webdataset" else _places(out, config, part)


def _places(out: Path, config: DatasetConfig, part: Sequence[Planned]) -> list[Path]:
    """Where each picture is written: for good, or until its shard is whole."""
    if config.format == "webdataset":
        return [out / _WAITING / f"{key_of(one)}.png" for one in part]
    return [out / _IMAGES / safe_name(one.name) / f"{one.index:06d}.png" for one in part]


def _pack(out: Path, config: DatasetConfig, number: int, part: Sequence[Planned]) -> None:
    if config.format != "webdataset":
        return
    places = _places(out, config, part)
    write_shard(shard_path(out, number), ((one, place.read_bytes()) for one, place in zip(part, places, strict=True)))
    for place in places:
        place.unlink()
    if not any((out / _WAITING).iterdir()):
        (out / _WAITING).rmdir()


def _plain(config: DatasetConfig) -> dict[str, Any]:
    """As JSON gives it back."""
    return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(config).items()}


def _record(out: Path, asked: dict[str, Any]) -> None:
    """Write down what is asked, or refuse a folder in which something else was."""
    path = out / _RECORD
    known = read_json(path) if path.is_file() else {}
    if differing := [key for key in asked if key in known and known[key] != asked[key]]:
        raise UserError(
            f"{out} holds another data set: {', '.join(differing)} differ. Choose another --out, or remove it."
        )
    write_json(path, known | asked)


def _write_manifest(out: Path, config: DatasetConfig, shards: Sequence[Sequence[Planned]]) -> None:
    text = io.StringIO()
    writer: csv.DictWriter[str] | None = None
    for number, part in enumerate(shards):
        for one, place in zip(part, _places(out, config, part), strict=True):
            file = shard_path(out, number).name if config.format == "webdataset" else place.relative_to(out).as_posix()
            row = {"file": file, "key": key_of(one), **one.as_dict()}
            if writer is None:
                writer = csv.DictWriter(text, list(row), lineterminator="\n")
                writer.writeheader()
            writer.writerow(row)
    write_text(out / _MANIFEST, text.getvalue())
