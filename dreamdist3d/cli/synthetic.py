"""The command that draws labelled pictures for a classifier."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from dreamdist3d.choices import DatasetFormat, Device
from dreamdist3d.cli.distributions import LearnSettings
from dreamdist3d.cli.given import BackboneName, given, left_out
from dreamdist3d.errors import UserError


@dataclass(frozen=True)
class DatasetSettings:
    """How pictures are drawn; every one takes one of the gammas, prefixes and suffixes."""

    format: Annotated[DatasetFormat | None, left_out("{imagefolder,webdataset}", "imagefolder")] = None
    """A folder for each class, or tar files of all classes mixed."""
    gammas: Annotated[tuple[float, ...] | None, left_out("FLOAT [FLOAT ...]", "0.6 1 1.4")] = None
    """Distances from a distribution's mean."""
    prefixes: Annotated[tuple[str, ...] | None, left_out("TEXT [TEXT ...]", "none")] = None
    """Words before a distribution's own."""
    suffixes: Annotated[tuple[str, ...] | None, left_out("TEXT [TEXT ...]", "none")] = None
    """Words after them."""
    guidance: Annotated[float | None, left_out("FLOAT", "7.5")] = None
    """Classifier-free guidance scale."""
    steps: Annotated[int | None, left_out("INT", "30")] = None
    """Of DDIM."""
    rescale: Annotated[float | None, left_out("FLOAT", "what suits the backbone")] = None
    """Of the guided prediction's spread, 0 to 1."""
    shard: Annotated[int | None, left_out("INT", "1000")] = None
    """Pictures in a tar file."""
    seed: Annotated[int | None, left_out("INT", "0")] = None
    """Of draws, words and noise."""


_PRESET = LearnSettings()


def dataset(
    classes: Positional[Path],
    *,
    per_class: int = 500,
    out: Path,
    backbone: BackboneName = "mini",
    settings: Annotated[DatasetSettings, arg(name="")] = DatasetSettings(),
    learn: LearnSettings = _PRESET,
    device: Device = "auto",
) -> None:
    """Draw labelled pictures for a classifier, from one distribution for each class. The same command goes on.

    Classes that are pictures are learned first, with the paper's objective, which covers a family better where every
    picture has a noise of its own.

    Args:
        classes: a folder that holds, for each class, a folder of pictures, a distribution file, or a baseline's folder.
        per_class: pictures of each.
        out: the folder for learned/, images/ or shards, manifest.csv.
        learn: settings of learning.
        device: where to compute.
    """
    from dreamdist3d.backbones import load_backbone
    from dreamdist3d.prompts.looks.pictures import rescale_for
    from dreamdist3d.runs.prepare import resolve_device
    from dreamdist3d.synthetic import DatasetConfig, make_dataset

    model = load_backbone(backbone, resolve_device(device))
    chosen = {"rescale": rescale_for(model)} | given(settings)
    failed = make_dataset(classes, model, DatasetConfig(per_class=per_class, learn=given(learn), **chosen), out)
    print(out / "manifest.csv")
    for line in failed:
        print(f"failed: {line}", file=sys.stderr)
    if failed:
        raise UserError(f"made without {len(failed)} of the classes; the first: {failed[0]}")
