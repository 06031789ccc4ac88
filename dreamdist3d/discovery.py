"""What files and folders are, by one rule for all commands: which are pictures, meshes, runs.

The case of suffixes does not matter; names that begin with a dot are somebody's side files; links are followed.
"""

import os
from collections.abc import Callable, Collection
from pathlib import Path

PICTURES = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".avif")
MESHES = (".glb", ".gltf", ".obj", ".ply")
RUN_RECORD = "run.json"

# Pictures that cannot be used as they are, and what to do: named, where they lie among others.
_HEIF = (".heic", ".heif", ".hif")
_FOREIGN_PICTURES = {
    **dict.fromkeys(_HEIF, "HEIC needs another package: pip install pillow-heif, or save it as JPEG"),
    **dict.fromkeys((".psd", ".svg", ".xcf", ".ai", ".exr", ".hdr", ".jxl"), "not read: save it as PNG or JPEG"),
    **dict.fromkeys((".raw", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".rw2"), "raw: save it as JPEG"),
}
_FOREIGN_MESHES = (".fbx", ".stl", ".usd", ".usda", ".usdc", ".usdz", ".dae", ".blend", ".3mf", ".3ds", ".off")


def files_in(folder: Path, suffixes: Collection[str]) -> list[Path]:
    """The files directly in `folder` that end so, by name.

    Raises:
        OSError: the folder cannot be listed.
    """
    return sorted(path for path in _visible(folder) if path.suffix.lower() in suffixes and path.is_file())


def pictures_in(folder: Path) -> tuple[list[Path], list[tuple[Path, str]]]:
    """The pictures directly in `folder`, by name, and those that cannot be used, each with the reason why.

    Raises:
        OSError: the folder cannot be listed.
    """
    if _opens_heif():
        return files_in(folder, (*PICTURES, *_HEIF)), _named(folder, _FOREIGN_PICTURES.keys() - set(_HEIF))
    return files_in(folder, PICTURES), _named(folder, _FOREIGN_PICTURES.keys())


def foreign_meshes_in(folder: Path) -> list[tuple[Path, str]]:
    """The meshes directly in `folder` of formats that are not read.

    Raises:
        OSError: the folder cannot be listed.
    """
    return [(path, "not read: save it as GLB") for path in files_in(folder, _FOREIGN_MESHES)]


def folders_below(folder: Path, is_one: Callable[[Path], bool], depth: int) -> list[Path]:
    """Those, at most `depth` levels down, that are what is looked for, by name; nothing is looked for inside them."""
    found, seen = [], set()
    for place, children, _ in os.walk(folder, followlinks=True):
        here = Path(place)
        children[:] = sorted(child for child in children if not child.startswith("."))
        if (real := os.path.realpath(here)) in seen:  # links may lead back, or twice to one place
            children.clear()
            continue
        seen.add(real)
        if is_here := is_one(here):
            found.append(here)
        if is_here or len(here.relative_to(folder).parts) >= depth:
            children.clear()
    return found


def files_below(folder: Path, suffixes: Collection[str], depth: int) -> list[Path]:
    """The files that end so in `folder` and at most `depth` folders down, by path.

    Raises:
        OSError: the folder cannot be listed.
    """
    found = files_in(folder, suffixes)
    if depth:
        for child in _visible(folder):
            if child.is_dir() and not child.is_symlink():
                found += files_below(child, suffixes, depth - 1)
    return sorted(found)


def _named(folder: Path, suffixes: Collection[str]) -> list[tuple[Path, str]]:
    return [(path, _FOREIGN_PICTURES[path.suffix.lower()]) for path in files_in(folder, suffixes)]


def _visible(folder: Path) -> list[Path]:
    return [path for path in Path(folder).iterdir() if not path.name.startswith(".")]


def _opens_heif() -> bool:
    """Whether Pillow reads HEIC here: by a package that brings codecs of other licences, which nobody gets unasked."""
    try:
        from pillow_heif import register_heif_opener
    except ImportError:
        return False
    register_heif_opener()
    return True
