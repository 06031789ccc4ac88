"""What all readers share: notes of what was not followed, files beside a file, pictures, checks."""

import io
from collections.abc import Iterable, Sequence
from pathlib import Path, PureWindowsPath

import numpy as np
from PIL import Image

from dreamdist3d.errors import UserError
from dreamdist3d.mesh.painted import Painted

BARE = np.array([200, 200, 200], np.uint8)  # of meshes that no file gives a colour
_MOST_NOTES = 24
_MOST_PIXELS = 1 << 27  # half a gigabyte of RGBA
_MOST_VERTICES = 1 << 27
_DEEPEST = 3  # folders below a file in which its textures are looked for


class Notes:
    """What a reader could not follow, one line each, the same thing once."""

    def __init__(self) -> None:
        self._lines: dict[str, None] = {}

    def add(self, line: str) -> None:
        self._lines[line] = None

    @property
    def lines(self) -> tuple[str, ...]:
        """All of them, or the first and how many more."""
        lines = list(self._lines)
        if len(lines) <= _MOST_NOTES:
            return tuple(lines)
        return (*lines[: _MOST_NOTES - 1], f"and {len(lines) - _MOST_NOTES + 1} more of such lines.")


def shown(name: object, limit: int = 80) -> str:
    """A name from a file, made short and of one line."""
    text = " ".join(str(name).split())
    return text if len(text) <= limit else f"{text[: limit - 3]}..."


def counted(count: int, thing: str) -> str:
    """`1 camera`, `2 cameras`."""
    return f"{count} {thing}" if count == 1 else f"{count} {thing}s"


def file_beside(path: Path, name: str) -> Path | None:
    """The file that `path` calls `name`: as it stands, with slashes turned, without its drive, in any case, below.

    Absolute names, mostly of another machine, are looked for by their last parts, in the folder of `path` and up to
    three folders below it. None where there is no such file.
    """
    name = name.strip().strip('"')
    known = PureWindowsPath(name)  # which takes slashes of both kinds
    absolute, parts = bool(known.anchor), known.parts[bool(known.anchor) :]
    if not parts:
        return None
    if not absolute and (found := _below(path.parent, parts)):
        return found
    for start in range(len(parts)):
        if ".." not in parts[start:] and (found := _below(path.parent, parts[start:])):
            return found
    wanted = parts[-1].lower()
    return next((file for file in sorted(_files(path.parent, _DEEPEST)) if file.name.lower() == wanted), None)


def _below(folder: Path, parts: Sequence[str]) -> Path | None:
    """`folder` / `parts`, whatever the case of their letters."""
    try:
        for part in parts:
            exact = folder / part
            if part != ".." and not exact.exists():
                exact = next(child for child in sorted(folder.iterdir()) if child.name.lower() == part.lower())
            folder = exact
        return folder if folder.is_file() else None
    except (StopIteration, OSError, ValueError):
        return None


def _files(folder: Path, depth: int) -> Iterable[Path]:
    try:
        children = list(folder.iterdir())
    except OSError:
        return
    for child in children:
        if child.is_file():
            yield child
        elif depth and child.is_dir() and not child.is_symlink() and child.name[0] != ".":
            yield from _files(child, depth - 1)


def decoded_picture(source: bytes | Path, opacity: bool) -> np.ndarray:
    """uint8 [H, W, 3], or with opacity [H, W, 4], of any picture that Pillow reads.

    Raises:
        ValueError: it is none, or too large; a few words say why.
    """
    try:
        with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source) as image:
            if image.width * image.height > _MOST_PIXELS:
                raise ValueError(f"{image.width} x {image.height} pixels are too many")
            return np.asarray(_eight_bits(image).convert("RGBA" if opacity else "RGB"))
    except ValueError:
        raise
    except Exception as error:  # decoders fail in every possible type on a broken file
        reason = "not a picture that Pillow reads" if isinstance(error, Image.UnidentifiedImageError) else f"{error}"
        raise ValueError(shown(reason)) from error


def _eight_bits(image: Image.Image) -> Image.Image:
    """Pillow would clip 16 bits at 255 instead of scaling them."""
    if image.mode.startswith("I"):
        return Image.fromarray((np.asarray(image).astype(np.int64).clip(0, 65535) // 257).astype(np.uint8))
    if image.mode == "F":
        return Image.fromarray((255.0 * np.asarray(image).clip(0.0, 1.0)).astype(np.uint8))
    return image


def check_count(count: int, what: str) -> None:
    """Raise a UserError for a number of things that no memory holds, before memory is asked for them."""
    if not 0 <= count <= _MOST_VERTICES:
        raise UserError(f"{shown(what)} has {count} entries, which cannot be; export it again.")


def checked_parts(parts: Iterable[Painted], notes: Notes) -> list[Painted]:
    """Parts as geometry: triangles of existing, finite vertices, of which some have an area.

    Triangles with vertices that are not finite are left out, with a note.

    Raises:
        UserError: an index out of range, no triangles, nothing finite, or no area at all.
    """
    whole = [_finite(part, notes) for part in parts if len(_in_range(part).faces)]
    whole = [part for part in whole if len(part.faces)]
    if not whole:
        raise UserError("it holds no triangles; export it again.")
    low = np.min([part.vertices[part.faces].min(axis=(0, 1)) for part in whole], axis=0)
    extent = max(float((part.vertices[part.faces].max(axis=(0, 1)) - low).max()) for part in whole)
    if not extent > 0 or not any(_areas(part, low, extent).max() > 1e-14 for part in whole):
        raise UserError("it holds only triangles without area; export it again.")
    return whole


def _in_range(part: Painted) -> Painted:
    if len(part.faces) and not (part.faces.min() >= 0 and part.faces.max() < len(part.vertices)):
        wrong = part.faces.max() if part.faces.max() >= len(part.vertices) else part.faces.min()
        raise UserError(f"a triangle names vertex {wrong} of {len(part.vertices)}; export it again.")
    return part


def _finite(part: Painted, notes: Notes) -> Painted:
    good = np.isfinite(part.vertices).all(axis=1) & (np.abs(part.vertices) < 1e30).all(axis=1)
    if good.all():
        return part
    kept = good[part.faces].all(axis=1)
    if lost := int((~kept).sum()):
        notes.add(f"{counted(lost, 'triangle')} with vertices that are not finite: left out.")
    if not kept.any():
        raise UserError("it holds only vertices that are not finite; export it again.")
    vertices = np.where(good[:, None], part.vertices, 0.0)
    return Painted(
        vertices, part.faces[kept], part.colors, part.uv, part.texture, part.normals, part.sampler, part.material
    )


def _areas(part: Painted, low: np.ndarray, extent: float) -> np.ndarray:
    corners = (part.vertices[part.faces] - low) / extent
    return np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1) / 2.0
