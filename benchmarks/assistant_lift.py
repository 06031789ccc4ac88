"""The picture of docs/assistant.md: two held-out teapots, their lids painted by the assistant, and the lifts of that.

python benchmarks/assistant_lift.py
"""

import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
import tyro
from PIL import Image

from dreamdist3d.assistant import Assistant
from dreamdist3d.assistant.pictures import make_group
from dreamdist3d.assistant.showing import lift_of, picture_file, sheet, write_answer
from dreamdist3d.assistant.train import HELD_OUT_SEED
from dreamdist3d.files import write_atomic

REQUEST = "paint the lid purple"
SIDES = ("front", "right", "back", "left")


def main(
    out: Path = Path("outputs/assistant-lift"),
    picture: Path = Path("docs/pictures/assistant_generator.png"),
    objects: tuple[int, ...] = (71, 11),
) -> None:
    """Write a row for each object.

    Args:
        picture: where the rows go.
        objects: of the held-out ones; 71 is the first plain teapot, 11 the first of all.
    """
    torch.set_num_threads(1)
    rows = [painted(out / str(index), index) for index in objects]
    write_atomic(picture, beside(rows, down=True).save)


def painted(out: Path, index: int) -> Image.Image:
    """An object, the first proposal, and the four sides of what that proposal's command makes."""
    given = out / "given.png"
    write_atomic(given, picture_file(make_group(HELD_OUT_SEED, index)[0][0]).save)
    talk = Assistant.of_pictures([given], seed=0)
    before, answer = talk.picture, talk.ask(REQUEST)
    print(answer.words, *(proposal.words for proposal in answer.proposals))
    (path, *_) = write_answer(answer, out, before)
    command = shlex.split(lift_of(answer.proposals[0], path))[1:]
    words = [f"exp_root_dir={out}", "name=lift", "tag=0", "seed=0"]
    if not (out / "lift" / "0").exists():
        subprocess.run([sys.executable, "-m", "dreamdist3d", *command, *words], check=True)
    return beside([sheet(answer, before), *(Image.open(out / "lift" / "0" / "save" / f"{side}.png") for side in SIDES)])


def beside(tiles: Sequence[Image.Image], down: bool = False) -> Image.Image:
    """Pictures in a row, or below one another."""
    sizes = [(tile.height, tile.width) if down else (tile.width, tile.height) for tile in tiles]
    length, across = sum(size for size, _ in sizes), max(size for _, size in sizes)
    whole = Image.new("RGB", (across, length) if down else (length, across), "white")
    place = 0
    for tile, (size, _) in zip(tiles, sizes, strict=True):
        whole.paste(tile, (0, place) if down else (place, 0))
        place += size
    return whole


if __name__ == "__main__":
    tyro.cli(main)
