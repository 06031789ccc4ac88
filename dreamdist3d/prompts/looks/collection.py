"""A folder of pictures, one for each draw, for tools that make 3D of a picture; and what they made, by its name."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from torch import Tensor

from dreamdist3d.backbones import Backbone
from dreamdist3d.backbones.licences import licence_note, terms_of_run, weights_terms
from dreamdist3d.discovery import MESHES, files_below
from dreamdist3d.errors import UserError
from dreamdist3d.files import ensure_folder, read_json, safe_name, write_atomic, write_json
from dreamdist3d.licences import Terms
from dreamdist3d.prompts.draw import PromptDraw
from dreamdist3d.prompts.looks.cutouts import NotPlain, cut_out
from dreamdist3d.prompts.looks.pictures import Sampling

RECORD = "pictures.json"
_METADATA = "dreamdist3d"  # the key in a PNG's text
_DEPTH = 3


@dataclass(frozen=True)
class DrawnPicture:
    """One picture of a collection, and what it is a picture of."""

    name: str
    draw: dict[str, Any]
    distribution: dict[str, Any]
    backbone: dict[str, Any]

    @property
    def origin(self) -> dict[str, Any]:
        """As the records of assets say it."""
        return {"picture": self.name, **{key: vars(self)[key] for key in ("draw", "distribution", "backbone")}}

    @property
    def licences(self) -> tuple[Terms, ...]:
        """Of the weights that made the picture, and of those that its prompt was learned with."""
        found = (weights_terms(str(self.backbone.get("name")), "made the picture"),)
        return (*found, *terms_of_run(None, self.distribution.get("learned_with")))


def check_collection(out: Path, names: Sequence[str]) -> None:
    """Find out now, not after the work, that the pictures cannot be written.

    Raises:
        UserError: `out` has a picture's name, cannot be written, or holds a collection of other draws.
    """
    if out.suffix:
        raise UserError(f"--cutout writes a picture for every draw: --out {out} must name a folder, such as pictures/.")
    ensure_folder(out)
    if (out / RECORD).exists() and (there := set(open_collection(out))) != set(names):
        raise UserError(f"{out} holds {len(there)} pictures of other draws: choose another --out.")


def picture_names(stem: str, draws: Sequence[PromptDraw]) -> list[str]:
    """`<number>-<stem>-<seed>`, as the runs of a batch are called; an antithetic twin says so."""
    return [
        f"{number:03d}-{safe_name(stem, 48)}-{draw.seed}{'-twin' if draw.antithetic else ''}"
        for number, draw in enumerate(draws)
    ]


def write_collection(
    out: Path,
    pictures: Tensor,  # [N, 3, S, S] in [0, 1]
    draws: Sequence[PromptDraw],
    names: Sequence[str],
    distribution: dict[str, Any],
    backbone: Backbone,
    sampling: Sampling,
) -> list[tuple[str, str]]:
    """Write each object as an RGBA square of S pixels, and `pictures.json`; the draw is in every PNG's metadata too.

    A picture whose object cannot be told from its background is written whole: the tools cut such pictures out
    themselves.

    Returns:
        The pictures that are not cut out, or cut off by their edge, each with what is wrong.

    Raises:
        UserError: the folder cannot be written.
    """
    model = {"name": backbone.name, "source": backbone.source, "sha256": backbone.fingerprint}
    model["licence"] = licence_note(backbone.name, backbone.source)
    shared = {"distribution": distribution, "backbone": model, "sampling": asdict(sampling)}
    entries, notes = [], []
    for picture, draw, name in zip(pictures, draws, names, strict=True):
        image, is_cut, note = _cut(picture.permute(1, 2, 0).numpy())
        metadata = PngInfo()
        metadata.add_text(_METADATA, json.dumps({"name": name, "draw": draw.to_dict(), **shared}))
        write_atomic(out / f"{name}.png", partial(image.save, format="PNG", pnginfo=metadata))
        entries.append({"name": name, "draw": draw.to_dict(), "is_cut_out": is_cut, "note": note})
        notes += [(name, note)] if note else []
    write_json(out / RECORD, {**shared, "pictures": entries})
    return notes


def _cut(picture: np.ndarray) -> tuple[Image.Image, bool, str | None]:
    try:
        cutout = cut_out(picture, len(picture))
    except NotPlain as error:
        return Image.fromarray((picture.clip(0, 1) * 255).round().astype(np.uint8)), False, f"not cut out: {error}"
    return cutout.image, True, None if cutout.is_whole else "the object reaches the picture's edge and may be cut off."


def open_collection(folder: Path) -> dict[str, DrawnPicture]:
    """The pictures of a folder that `sample --cutout` wrote, by name.

    Raises:
        UserError: it is no such folder, or its record is damaged.
    """
    path = folder / RECORD
    if not path.is_file():
        raise UserError(f"{folder} holds no {RECORD}: give the folder that `dreamdist3d sample --cutout` wrote.")
    record = read_json(path)
    try:
        shared = record["distribution"], record["backbone"]
        pictures = [DrawnPicture(entry["name"], entry["draw"], *shared) for entry in record["pictures"]]
        sound = all(isinstance(p.name, str) and isinstance(p.draw, dict) for p in pictures)
    except (KeyError, TypeError):
        sound = False
    if not sound or not all(isinstance(section, dict) for section in shared):
        raise UserError(f"{path} is no record of pictures: restore it, or sample them again.")
    return {picture.name: picture for picture in pictures}


def picture_of(path: Path, known: Mapping[str, DrawnPicture]) -> DrawnPicture | None:
    """The picture that a file was made of: its name, or that of a folder it lies in, begins with the picture's.

    Tools keep the picture's name and add to it: `003-mushrooms-7.glb`, `003-mushrooms-7_textured.glb`,
    `003-mushrooms-7/mesh.obj`.
    """
    for text in (path.stem, *(parent.name for parent in list(path.parents)[:_DEPTH])):
        if found := [name for name in known if _begins_with(text.lower(), name.lower())]:
            return known[max(found, key=len)]
    return None


def made_of(folder: Path, known: Mapping[str, DrawnPicture]) -> tuple[dict[str, Path], list[tuple[Path, str]]]:
    """The mesh that was made of each picture, at most three folders down, and what is left out with the reason why.

    Of several meshes of one picture the first counts: GLB before glTF, OBJ and PLY, then by name.
    """
    found = files_below(folder, MESHES, _DEPTH)
    order = sorted(found, key=lambda path: (MESHES.index(path.suffix.lower()), path.as_posix()))
    meshes: dict[str, Path] = {}
    left: list[tuple[Path, str]] = []
    for path in order:
        picture = picture_of(path, known)
        if picture is None:
            left.append((path, "its name begins with that of none of the pictures"))
        elif picture.name in meshes:
            left.append((path, f"a second mesh of {picture.name}; {meshes[picture.name].name} counts"))
        else:
            meshes[picture.name] = path
    return dict(sorted(meshes.items())), left


def _begins_with(text: str, name: str) -> bool:
    return text.startswith(name) and not text[len(name) : len(name) + 1].isalnum()
