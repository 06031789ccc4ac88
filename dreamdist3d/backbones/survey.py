"""Which of the known weights are on this disk, and whether they are what was published. Asks no network."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from dreamdist3d.backbones.catalogue import CATALOGUE, HubSource, NamedWeights, mini_folder
from dreamdist3d.backbones.hashes import is_verified
from dreamdist3d.backbones.hub import cached, weight_path

State = Literal["absent", "verified", "damaged", "unverified", "packaged"]


@dataclass(frozen=True)
class Listed:
    """One place that weights come from. `path` is None where they are not on this disk."""

    name: str
    purpose: str
    size_gb: float
    licence: str
    origin: str
    path: Path | None
    state: State


def survey() -> list[Listed]:
    """The packaged weights, then every source of the catalogue in the order in which they are tried.

    The first look at weights hashes them, which takes seconds per gigabyte; later ones remember.
    """
    return [_mini(), *(_listed(weights, source) for weights in CATALOGUE.values() for source in weights.sources)]


def state_of(source: HubSource, path: Path) -> State:
    """What the hashes of a source's weight files on this disk say, `path` being what `cached` gave."""
    verdicts = {is_verified(weight_path(source, path, name), source.sha256.get(name)) for name in source.weight_files}
    if False in verdicts:
        return "damaged"
    return "unverified" if None in verdicts else "verified"


def _mini() -> Listed:
    folder = mini_folder()
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) / 1e9
    return Listed("mini", "trying everything, on any machine", size, "Apache-2.0", "this package", folder, "packaged")


def _listed(weights: NamedWeights, source: HubSource) -> Listed:
    path = cached(source)
    origin = source.repository if len(source.files) > 1 else f"{source.repository}/{source.files[0]}"
    state = "absent" if path is None else state_of(source, path)
    return Listed(weights.name, weights.purpose, source.size_gb, weights.licence, origin, path, state)
