"""What the page shows of one asset: a turntable, its neighbours, its flags, its mesh."""

import base64
import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import trimesh

from dreamdist3d.eval.diversity.extent import framed_vertices
from dreamdist3d.eval.load import LoadedSet, References, to_bytes
from dreamdist3d.eval.pictures import data_uri, strip
from dreamdist3d.eval.renders import DISTANCE, ELEVATION_DEG, FOV_DEG
from dreamdist3d.lift.cameras import orbit
from dreamdist3d.mesh.axes import to_world
from dreamdist3d.mesh.colors import vertex_colors
from dreamdist3d.mesh.painted import Painted
from dreamdist3d.mesh.render import framed, render

FRAMES, SIZE = 12, 144  # of a turntable; pixels
TRIANGLES = 200_000  # of one mesh
PAGE_BYTES = 32_000_000  # of all meshes of a page, as text; phones open it still
_THUMB = 72  # pixels
_RADIUS = 0.5
_STEPS = 32767  # to each side of the middle


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
    own: str | None = None  # the draw's own first views side by side


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
                _own(one, index),
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


def _own(one: LoadedSet, index: int) -> str | None:
    if one.own is None:
        return None
    return data_uri(strip(np.stack([to_bytes(view) for view in one.own[index]])), 4 * _THUMB)


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


def turntable(mesh: trimesh.Trimesh, frames: int = FRAMES, size: int = SIZE) -> np.ndarray:
    """uint8 [frames, size, size, 3]: the front first, then counterclockwise in equal steps, on white.

    Raises:
        ValueError: all vertices lie in one point.
    """
    around = torch.arange(frames, dtype=torch.float64) * (360.0 / frames)
    elevation, distance, fov = (torch.full_like(around, value) for value in (ELEVATION_DEG, DISTANCE, FOV_DEG))
    part = Painted.of(mesh)
    placed = framed([part.moved(to_world(part.vertices))], _RADIUS)
    return render(placed, orbit(around, elevation, distance, fov), size, supersample=2).rgb


def pack_mesh(mesh: trimesh.Trimesh) -> str:
    """Base64 of little-endian: V and F (uint32), positions (int16 [V, 3]), colours (uint8 [V, 4]), faces (uint32).

    Positions are those in the bounding sphere of radius 1 around the middle of the bounding box, in steps of 1/32767;
    they are padded to four bytes.

    Raises:
        ValueError: all vertices lie in one point.
    """
    positions = np.round(framed_vertices(mesh) * _STEPS).astype("<i2").tobytes()
    positions += bytes(-len(positions) % 4)
    colors = np.ascontiguousarray(vertex_colors(mesh), dtype=np.uint8).tobytes()
    faces = np.ascontiguousarray(mesh.faces, dtype="<u4").tobytes()
    return base64.b64encode(
        struct.pack("<II", len(mesh.vertices), len(mesh.faces)) + positions + colors + faces
    ).decode()
