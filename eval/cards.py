"""What the page shows of one asset: a turntable, its neighbours, its flags, its mesh."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from dreamdist3d.eval.load import LoadedSet, References
from dreamdist3d.eval.packed import PAGE_BYTES, TRIANGLES, pack_mesh
from dreamdist3d.eval.pictures import data_uri, strip
from dreamdist3d.eval.turntable import turntable

_THUMB = 72  # pixels


@dataclass(frozen=True)
class Neighbour:
    """A picture beside the asset: what it is, and how similar."""

    label: str
    picture: str
    similarity: float


@dataclass(frozen=True)
class Card:
    """One asset on the page."""

    name: str
    frames: int
    turntable: str  # the frames side by side
    flags: list[str]
    to_references: float | None
    neighbours: list[Neighbour]
    mesh: str | None  # base64 of `pack_mesh`
    no_mesh: str  # why not


def asset_cards(entry: dict[str, Any], one: LoadedSet, targets: References | None, spent: int) -> list[Card]:
    """The cards of a set; neighbours are those of the first judge.

    Args:
        spent: characters of meshes that are on the page already.
    """
    cards = []
    for index in range(len(one.views)):
        mesh, reason = _packed(one, index, spent)
        spent += len(mesh or "")
        frames = one.views[index] if one.meshes is None else turntable(one.meshes[index])
        values = next(iter(entry["encoders"].values()))
        cards.append(
            Card(
                entry["assets"][index]["name"],
                len(frames),
                data_uri(strip(frames)),
                entry["assets"][index]["flags"],
                values["to_references"] and values["to_references"]["per_asset"][index],
                _neighbours(values, index, one, targets),
                mesh,
                reason,
            )
        )
    return cards


def _neighbours(values: dict[str, Any], index: int, one: LoadedSet, targets: References | None) -> list[Neighbour]:
    found = []
    if targets is not None:
        name = values["to_references"]["nearest_name"][index]
        row = [path.name for path in targets.images.paths].index(name)
        picture = ((targets.images.pixels[row] + 1.0) * 127.5).round().byte().movedim(0, -1).numpy()
        found.append(_neighbour(f"nearest reference, {name}", picture, values["to_references"]["nearest"][index]))
    if values["nearest_asset"]:
        other = values["nearest_asset"][index]
        similarity = values["similarity_matrix"][index][other]
        found.append(_neighbour(f"nearest asset {other + 1}", one.views[other, 0], similarity))
    return found


def _neighbour(label: str, picture: np.ndarray, similarity: float) -> Neighbour:
    return Neighbour(label, data_uri(strip(picture[None]), _THUMB), similarity)


def _packed(one: LoadedSet, index: int, spent: int) -> tuple[str | None, str]:
    if one.meshes is None:
        return None, ""  # there never was a mesh
    mesh = one.meshes[index]
    if len(mesh.faces) > TRIANGLES:
        return None, f"{len(mesh.faces):,} triangles are too many for this page; open {one.entry.assets[index].path}."
    packed = pack_mesh(mesh)
    if spent + len(packed) > PAGE_BYTES:
        return None, f"This page holds no more meshes; open {one.entry.assets[index].path}."
    return packed, ""
