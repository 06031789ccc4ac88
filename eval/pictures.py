"""The report's pictures: contact sheets, strips and heat maps."""

import base64
import io
import math
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

_GAP = 24
_TITLE, _LABEL = 22, 13
_INK, _QUIET = (28, 30, 33), (128, 130, 134)
# From hardly similar (pale) to the same (deep): light enough and dark enough for text on either end.
_RAMP = np.array([[240, 238, 232], [196, 214, 214], [110, 163, 172], [45, 101, 126], [22, 45, 78]], dtype=float)


def strip(views: np.ndarray) -> Image.Image:
    """[V, S, S, 3] uint8 views side by side."""
    return Image.fromarray(np.concatenate(list(views), axis=1))


def contact_sheet(sets: Sequence[tuple[str, Sequence[str], np.ndarray, Sequence[str]]]) -> Image.Image:
    """Sets of (title, asset names, uint8 [A, V, S, S, 3], view names): a row an asset, a column a view.

    More than eight assets stand in several blocks side by side.
    """
    blocks = [_set_sheet(*one) for one in sets]
    sheet = Image.new("RGB", (max(b.width for b in blocks), sum(b.height for b in blocks)), "white")
    top = 0
    for block in blocks:
        sheet.paste(block, (0, top))
        top += block.height
    return sheet


def heat_map(matrix: Sequence[Sequence[float]], order: Sequence[int]) -> Image.Image:
    """A similarity matrix [A][A] as a picture on nothing, so that it lies on light and on dark pages.

    Rows and columns stand in the given order and carry the assets' own numbers. The scale is fixed from 0 to 1, so
    that pictures of different sets compare. The diagonal, which is always 1, is left out. Cells carry their number up
    to 16 assets.
    """
    count = len(matrix)
    cell = max(12, min(96, 960 // count))
    margin = 44
    image = Image.new("RGBA", (margin + count * cell, margin + count * cell), (0, 0, 0, 0))
    draw = ImageDraw.Draw(image)
    for row, asset in enumerate(order):
        centre = margin + (row + 0.5) * cell
        if cell >= 24:
            draw.text((margin - 14, centre), str(asset + 1), (*_QUIET, 255), _font(_TITLE), anchor="rm")
            draw.text((centre, margin - 14), str(asset + 1), (*_QUIET, 255), _font(_TITLE), anchor="mb")
        for column, other in enumerate(order):
            if row != column:
                _cell(draw, (margin + column * cell, margin + row * cell), cell, matrix[asset][other], count <= 16)
    return image


def data_uri(image: Image.Image, height: int | None = None) -> str:
    """The picture inside a `data:` address, made `height` pixels high if given: WebP, lossless with transparency."""
    if height is not None:
        image = image.resize((round(image.width * height / image.height), height), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, format="WEBP", lossless=image.mode == "RGBA", quality=88)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def _set_sheet(title: str, names: Sequence[str], views: np.ndarray, view_names: Sequence[str]) -> Image.Image:
    assets, count, size = views.shape[:3]
    columns = math.ceil(assets / 8)
    rows = math.ceil(assets / columns)
    head, caption = 3 * _GAP + 30, 48
    width, height = count * size + 2 * _GAP, size + caption
    sheet = Image.new("RGB", (max(columns * width, 360), head + rows * height + _GAP), "white")
    draw = ImageDraw.Draw(sheet)
    draw.text((_GAP, _GAP), _shortened(draw, title, sheet.width - 2 * _GAP, _TITLE), _INK, _font(_TITLE))
    for index in range(assets):
        left, top = index // rows * width + _GAP, head + index % rows * height
        if index % rows == 0:
            for view in range(count):
                draw.text((left + (view + 0.5) * size, top - 10), view_names[view], _QUIET, _font(_LABEL), anchor="ms")
        sheet.paste(strip(views[index]), (left, top))
        label = _shortened(draw, f"{index + 1}   {names[index]}", count * size, _LABEL)
        draw.text((left, top + size + 6), label, _QUIET, _font(_LABEL))
    return sheet


def _cell(draw: ImageDraw.ImageDraw, corner: tuple[int, int], cell: int, value: float, numbered: bool) -> None:
    left, top = corner
    inset = 1 if cell >= 24 else 0
    position = min(max(value, 0.0), 1.0) * (len(_RAMP) - 1)
    color = [np.interp(position, range(len(_RAMP)), _RAMP[:, channel]) for channel in range(3)]
    box = (left + inset, top + inset, left + cell - 1 - inset, top + cell - 1 - inset)
    draw.rounded_rectangle(box, cell // 12, tuple(round(c) for c in color) + (255,))
    if numbered:
        ink = (255, 255, 255, 255) if position > 2.2 else (*_INK, 255)
        draw.text((left + cell / 2, top + cell / 2), f"{value:.2f}", ink, _font(cell * 0.27), anchor="mm")


def _shortened(draw: ImageDraw.ImageDraw, text: str, width: int, size: int) -> str:
    if draw.textlength(text, _font(size)) <= width:
        return text
    while text and draw.textlength(text + "…", _font(size)) > width:
        text = text[:-1]
    return text + "…"


def _font(size: float) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
