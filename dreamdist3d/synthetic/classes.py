"""The classes of a data set: folders of pictures, which are learned, and prompts that are learned already."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dreamdist3d.errors import Stopped, UserError, one_line
from dreamdist3d.prompts import PromptSource, learn, load_distribution, load_references, preset_for

if TYPE_CHECKING:
    from dreamdist3d.backbones import Backbone

_PROMPTS = "prompts.safetensors"


@dataclass(frozen=True)
class Class:
    """A class that can be drawn from."""

    name: str
    source: PromptSource
    backbone: str  # what `load_backbone` takes


def find_classes(folder: Path) -> list[Path]:
    """What lies directly in `folder`, by name: sub-folders, and distribution files.

    Raises:
        UserError: no such folder, fewer than two classes in it, or two of one name.
    """
    if not folder.is_dir():
        raise UserError(f"{folder} is no folder: give one that holds a folder of pictures for each class.")
    found = [path for path in sorted(folder.iterdir()) if not path.name.startswith(".") and _is_class(path)]
    if len(found) < 2:
        raise UserError(
            f"{folder} holds {len(found)} classes: it needs a folder of pictures, or a distribution file, for each of "
            "two or more."
        )
    names = [path.stem if path.is_file() else path.name for path in found]
    if twice := [name for name in names if names.count(name) > 1]:
        raise UserError(f"{folder} holds two classes named {twice[0]}: rename one.")
    return found


def open_classes(
    folder: Path, out: Path, backbone: "Backbone", settings: Mapping[str, Any]
) -> tuple[list[Class], list[str]]:
    """Every class, learned where it is pictures, into `out`/NAME.safetensors; and what kept others from being used.

    A class that is a distribution file, or a folder that a baseline was made in, is drawn from as it is, with the
    backbone that it names.

    Raises:
        Stopped: Ctrl-C or SIGTERM; what was learned is kept.
        UserError: as `find_classes`; or none of them can be used.
    """
    classes, failed = [], []
    for path in find_classes(folder):
        try:
            classes.append(_opened(path, out, backbone, settings))
        except Stopped:
            raise
        except UserError as error:
            failed.append(f"{path}: {one_line(error)}")
    if not classes:
        raise UserError(f"no class can be used; the first: {failed[0]}")
    return classes, failed


def _is_class(path: Path) -> bool:
    return path.is_dir() or path.suffix.lower() == ".safetensors"


def _opened(path: Path, out: Path, backbone: "Backbone", settings: Mapping[str, Any]) -> Class:
    prompts = path if path.is_file() else path / _PROMPTS
    if prompts.is_file():
        source = load_distribution(prompts)
        return Class(path.stem if path.is_file() else path.name, source, source.metadata.get("backbone", backbone.name))
    learned = out / f"{path.name}.safetensors"
    references = load_references(path, backbone.image_size)
    for picture, reason in references.skipped:
        print(f"skipped {picture}: {reason}", file=sys.stderr)
    if learned.is_file() and load_distribution(learned).metadata.get("references_sha256") == references.content_hash:
        return Class(path.name, load_distribution(learned), backbone.name)
    config = replace(preset_for(backbone, settings.get("objective", "paper")), **settings)
    return Class(path.name, learn(backbone, references, config, learned), backbone.name)
