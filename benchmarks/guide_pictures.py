"""The pictures of docs/prompt-distributions.md that show draws, edits and mixtures.

    python benchmarks/guide_pictures.py --mushroom mushroom.safetensors --rocket rocket.safetensors --out docs/pictures

The distributions are learned by `dreamdist3d learn` from the references of their family; what `benchmarks/spread.py`
leaves in its folder will do.
"""

from pathlib import Path

import tyro
from torch import Tensor

from dreamdist3d.files import write_atomic
from dreamdist3d.mini.grids import save_grid
from dreamdist3d.prompts import PromptComposition, PromptDistribution, PromptSource
from dreamdist3d.prompts.looks.pictures import label_of, picture_grid
from study import sample

EDITS = ({}, {"prefix": "a red"}, {"prefix": "a yellow", "suffix": "with a blue stem"})
SHOWN = 8


def main(mushroom: Path, rocket: Path, out: Path) -> None:
    """Write draws.png, edited.png and mixed.png.

    Args:
        mushroom, rocket: learned distributions.
        out: folder for the pictures.
    """
    mushrooms, rockets = PromptDistribution.load(mushroom), PromptDistribution.load(rocket)
    draws = [mushrooms.draw(seed) for seed in range(16)]
    grid = picture_grid(sample(mushrooms, draws), [label_of(draw) for draw in draws], cell=96)
    write_atomic(out / "draws.png", grid.save)
    save_grid([list(row(mushrooms, **words)) for words in EDITS], out / "edited.png", 1)
    halves = [PromptComposition((mushrooms, rockets), (1 - w, w)) for w in (0.25, 0.5, 0.75)]
    mixture = PromptComposition((mushrooms, rockets), kind="mixture")
    sources = (mushrooms, *halves, rockets, mixture)
    save_grid([list(row(source)) for source in sources], out / "mixed.png", 1)


def row(source: PromptSource, **words: str) -> Tensor:
    """[SHOWN, 3, H, W], each draw with a noise of its own, the same ones in every row."""
    return sample(source, [source.draw(seed, **words) for seed in range(SHOWN)])


if __name__ == "__main__":
    tyro.cli(main)
