"""A sheet of sampled pictures on disk, and beside it the record of every draw on it."""

import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from dreamdist3d.errors import UserError
from dreamdist3d.files import ensure_folder, write_atomic, write_json
from dreamdist3d.prompts.draw import PromptDraw
from dreamdist3d.prompts.pictures import Sampling
from dreamdist3d.prompts.source import PromptSource

_FORMATS = (".png", ".jpg", ".jpeg", ".webp")
_GAP, _LABEL = 6, 18


def check_picture(out: Path) -> None:
    """Find out now, not after the work, that the picture cannot be written.

    Raises:
        UserError: it has no picture's name, is a folder, or its folder cannot be written.
    """
    if out.suffix.lower() not in _FORMATS or out.is_dir():
        raise UserError(f"--out {out} must name a picture ({', '.join(_FORMATS)}), such as grid.png.")
    ensure_folder(out.parent)


def write_sheet(
    out: Path,
    pictures: Tensor,  # [N, 3, S, S] in [0, 1]
    draws: Sequence[PromptDraw],
    source: PromptSource,
    sampling: Sampling,
) -> None:
    """Write the labelled grid and, beside it with the suffix .json, what each picture is a draw of."""
    grid = picture_grid(pictures, [label_of(draw) for draw in draws])
    write_atomic(out, grid.save)
    record = {
        "distribution_sha256": source.content_hash,
        "sampling": asdict(sampling),
        "draws": [draw.to_dict() for draw in draws],
    }
    write_json(out.with_suffix(".json"), record)


def picture_grid(pictures: Tensor, labels: Sequence[str], cell: int = 128) -> Image.Image:
    """Pictures [N, 3, S, S] in [0, 1] in a nearly square grid, each above its label.

    Args:
        cell: pixels a side that small pictures are enlarged to; larger ones stay as they are.
    """
    columns = columns_for(len(pictures))
    side = max(cell, pictures.shape[-1])
    width, height = side + _GAP, side + _GAP + _LABEL
    rows = math.ceil(len(pictures) / columns)
    sheet = Image.new("RGB", (columns * width + _GAP, rows * height + _GAP), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(13)
    for index, (picture, label) in enumerate(zip(pictures, labels, strict=True)):
        left, top = _GAP + index % columns * width, _GAP + index // columns * height
        sheet.paste(_image(picture).resize((side, side), Image.Resampling.LANCZOS), (left, top))
        draw.text((left + side / 2, top + side + 3), label, (110, 112, 116), font, anchor="ma")
    return sheet


def columns_for(count: int) -> int:
    """Of a grid about as wide as high, with few empty places in its last row."""
    side = math.ceil(math.sqrt(count))
    return min(range(side, 2 * side + 1), key=lambda columns: (-count % columns, columns))


def label_of(draw: PromptDraw) -> str:
    """What tells a draw from its neighbours: its seed, and a mark for an antithetic twin."""
    name = "given" if draw.seed is None else f"{draw.seed}"
    return f"{name}{' twin' if draw.antithetic else ''}"


def _image(picture: Tensor) -> Image.Image:
    return Image.fromarray(np.ascontiguousarray((picture.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy()))
