"""Answers on a terminal and on disk: pictures under names of our own, a sheet, the record of how to make them again."""

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from dreamdist3d.assistant.answer import Answer
from dreamdist3d.assistant.proposing import Proposal
from dreamdist3d.assistant.subjects import launch_command
from dreamdist3d.files import write_atomic, write_json
from dreamdist3d.prompts.looks.pictures import picture_grid

_SIDE = 256  # pixels that a small picture is enlarged to


def write_answer(answer: Answer, folder: Path, before: Tensor | None = None) -> list[Path]:
    """Write `proposal-1.png` ..., `sheet.png` and `answer.json`; returns the pictures' paths.

    Beside a picture that words alone do not make lies `proposal-1.safetensors`, for `sample` and a lift.

    Args:
        before: the picture that the request was about; it comes first on the sheet.
    """
    paths = [folder / f"proposal-{number}.png" for number in range(1, len(answer.proposals) + 1)]
    for path, proposal in zip(paths, answer.proposals, strict=True):
        write_atomic(path, picture_file(proposal.picture).save)
        if proposal.file is not None:
            proposal.file.save(path.with_suffix(".safetensors"))
    record = record_of(answer, paths)
    for entry, path in zip(record["proposals"], paths, strict=True):
        entry["picture"] = path.name
    write_json(folder / "answer.json", record)
    if paths:
        write_atomic(folder / "sheet.png", sheet(answer, before).save)
    return paths


def record_of(answer: Answer, paths: list[Path]) -> dict[str, Any]:
    """The answer ready for JSON, with where `write_answer` wrote its pictures."""
    record = answer.to_dict()
    for entry, proposal, path in zip(record["proposals"], answer.proposals, paths, strict=True):
        entry |= {"picture": str(path), "lift": lift_of(proposal, path)}
    return record


def lift_of(proposal: Proposal, path: Path) -> str:
    """The shell command that lifts a proposal: its file beside its picture, if it has one, else its words."""
    if proposal.file is None:
        return proposal.lift
    file = str(path.with_suffix(".safetensors"))
    return launch_command(proposal.file.metadata["backbone"], {"distribution": file})


def sheet(answer: Answer, before: Tensor | None = None) -> Image.Image:
    """The picture before and the proposals in a row, each above its number."""
    cells = [(proposal.picture, str(number)) for number, proposal in enumerate(answer.proposals, start=1)]
    if before is not None:
        cells = [(before, "before"), *cells]
    tiles = [picture_grid(picture[None], [label]) for picture, label in cells]
    row = Image.new("RGB", (sum(tile.width for tile in tiles), max(tile.height for tile in tiles)), "white")
    left = 0
    for tile in tiles:
        row.paste(tile, (left, 0))
        left += tile.width
    return row


def picture_file(picture: Tensor) -> Image.Image:
    """[3, S, S] in [0, 1] as a file's picture, small ones enlarged."""
    array = (picture.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy()
    image = Image.fromarray(np.ascontiguousarray(array))
    side = max(_SIDE, image.width)
    return image.resize((side, side), Image.Resampling.LANCZOS)


def in_text(answer: Answer, paths: list[Path]) -> str:
    """An answer as lines for a terminal."""
    lines = [answer.words]
    for number, (proposal, path) in enumerate(zip(answer.proposals, paths, strict=True), start=1):
        lines += [
            f"  {number}. {proposal.words[:1].upper()}{proposal.words[1:]}",
            f"     {path}",
            f"     {lift_of(proposal, path)}",
        ]
    return "\n".join(lines)
