"""Quadruplets of one's own (CAFE, section 3.2): a picture, a request, an answer, and the picture that was wanted.

A file of JSON lines: {"picture": "a.png", "request": "...", "answer": "...", "target": "b.png", "text": "..."}. The
pictures lie in its folder; `text`, words for the generator, may be left out.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dreamdist3d.assistant.reading import read_file
from dreamdist3d.errors import UserError, clipped


@dataclass(frozen=True)
class Quadruplet:
    """Files of the picture given and of the one wanted, and the words around them."""

    picture: Path
    target: Path
    request: str
    answer: str
    text: str = ""


def read_quadruplets(path: Path) -> tuple[list[Quadruplet], list[str]]:
    """The quadruplets of a file, and why others of its lines are none, in one sentence each.

    Raises:
        UserError: there is no such file, or no quadruplet in it.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read ({type(error).__name__}): name a file of JSON lines.") from None
    found, wrong = [], []
    for number, line in enumerate(lines, start=1):
        if line.strip():
            try:
                found.append(_quadruplet(line, path.parent))
            except (UserError, ValueError, TypeError, LookupError, RecursionError) as error:
                wrong.append(f"{path}, line {number}: {clipped(str(error))}")
    if not found:
        raise UserError(f"{path} has no quadruplet: {wrong[0] if wrong else 'it is empty.'}")
    return found, wrong


def _quadruplet(line: str, folder: Path) -> Quadruplet:
    value: dict[str, Any] = json.loads(line)
    if not isinstance(value, dict):
        raise ValueError("it is no object of JSON")
    lacking = [key for key in ("picture", "target", "request", "answer") if not isinstance(value.get(key), str)]
    if lacking:
        raise ValueError(f"{lacking[0]} is missing or no text")
    text = value.get("text", "")
    picture, target = (_inside(folder, value[key]) for key in ("picture", "target"))
    for file in (picture, target):
        read_file(file, 8)
    return Quadruplet(picture, target, value["request"], value["answer"], text if isinstance(text, str) else "")


def _inside(folder: Path, name: str) -> Path:
    path = (folder / name).resolve()
    if not path.is_relative_to(folder.resolve()):
        raise ValueError(f"{name!r} lies outside the file's folder")
    return path
