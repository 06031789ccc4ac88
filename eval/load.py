"""From files to pictures: what the judges see of a set and of the references."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
import trimesh
from PIL import Image
from torch import Tensor

from dreamdist3d.choices import Renderer
from dreamdist3d.errors import UserError, reason_of
from dreamdist3d.eval.assets import Asset, AssetSet
from dreamdist3d.eval.renders import VIEW_NAMES, render_views
from dreamdist3d.mesh.read import merged, read_file
from dreamdist3d.prompts.learning.images import ReferenceImages, load_references, read_picture

_LARGEST = 1024  # pixels a side; no judge looks at more, and a folder of photographs fits in memory


@dataclass(frozen=True, eq=False)
class LoadedSet:
    """A set whose files could be read.

    Attributes:
        entry: its A assets, and what was left out.
        views: uint8 [A, V, S, S, 3], for the page and for silhouettes and colours.
        view_names: V.
        pictures: A V pictures [3, H, W] in [0, 1] for the judges, asset by asset, as large as they come.
        meshes: A, or None of a set of renders.
        not_followed: A times what of a mesh file could not be followed.
        own: A times the draw's own first views [3, H, W] from the same sides; None unless every asset has kept them.
    """

    entry: AssetSet
    views: np.ndarray
    view_names: tuple[str, ...]
    pictures: list[Tensor]
    meshes: list[trimesh.Trimesh] | None
    not_followed: list[tuple[str, ...]]
    own: list[list[Tensor]] | None = None


@dataclass(frozen=True, eq=False)
class References:
    """R reference images: squares of the page's size, and as large as they come."""

    folder: Path
    images: ReferenceImages
    pictures: list[Tensor]  # R of [3, H, W] in [0, 1]


def load_set(entry: AssetSet, size: int, advance: Callable[[str], None], renderer: Renderer = "embree") -> LoadedSet:
    """Render the meshes of a set, or read its renders; one that fails, in whatever way, is named in `entry.damaged`.

    Raises:
        UserError: none of them can be scored.
    """
    assets, loaded, damaged = [], [], list(entry.damaged)
    for asset in entry.assets:
        try:
            loaded.append(_read_views(asset, size) if asset.views else _render(asset, size, renderer))
            assets.append(asset)
        except Exception as error:  # parsers and renderers fail in their own ways on what strangers wrote
            damaged.append((asset.path, reason_of(error).removeprefix(f"{asset.path} ")))
        advance(asset.name)
    if not assets:
        path, reason = damaged[-1]
        raise UserError(f"none of the {len(entry.assets)} assets of {entry.path} can be scored: {path} {reason}")
    views, pictures, meshes, not_followed = zip(*loaded, strict=True)
    return LoadedSet(
        replace(entry, assets=assets, damaged=damaged),
        np.stack(views),
        tuple(assets[0].views) or VIEW_NAMES,
        [picture for of_asset in pictures for picture in of_asset],
        None if entry.kind == "renders" else list(meshes),
        list(not_followed),
        _own_views(assets),
    )


def _own_views(assets: Sequence[Asset]) -> list[list[Tensor]] | None:
    """What the lift kept of the draw's first views, if it did for all and they can be read."""
    places = [asset.own_views for asset in assets]
    try:
        return [[open_picture(path) for path in paths] for paths in places] if all(places) else None
    except UserError:
        return None


def load_reference_set(folder: Path, size: int) -> References:
    """Every picture of a folder.

    Raises:
        UserError: none can be read.
    """
    images = load_references(folder, size)
    return References(Path(folder), images, [open_picture(path) for path in images.paths])


def open_picture(path: Path) -> Tensor:
    """The middle square of a picture in its own resolution, up to 1024 pixels: [3, S, S] in [0, 1].

    A judge's own preprocessing starts from here. It would cut the same square.

    Raises:
        UserError: not a picture.
    """
    try:
        with Image.open(path) as image:
            size = min(*image.size, _LARGEST)
        return torch.from_numpy(read_picture(path, size)) / 2.0 + 0.5
    except Exception as error:  # decoders fail in every possible type on a broken file
        raise UserError(f"{path} cannot be read as a picture ({error}); write it again.") from error


def to_bytes(picture: Tensor) -> np.ndarray:
    """[..., 3, H, W] in [0, 1] -> uint8 [..., H, W, 3]."""
    return (picture * 255.0).round().clamp(0, 255).byte().movedim(-3, -1).numpy()


_Loaded = tuple[np.ndarray, list[Tensor], trimesh.Trimesh | None, tuple[str, ...]]


def _render(asset: Asset, size: int, renderer: Renderer) -> _Loaded:
    file = read_file(asset.path)
    views = render_views(file.parts, size, renderer)
    pictures = list(torch.from_numpy(views).movedim(-1, 1).float() / 255.0)
    return views, pictures, merged(file.parts), file.not_followed


def _read_views(asset: Asset, size: int) -> _Loaded:
    pictures = [open_picture(path) for path in asset.views.values()]
    small = [torch.from_numpy(read_picture(path, size)) / 2.0 + 0.5 for path in asset.views.values()]
    return to_bytes(torch.stack(small)), pictures, None, ()
