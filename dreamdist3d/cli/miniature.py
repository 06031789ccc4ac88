"""Commands about the miniature world."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg
from tyro.extras import SubcommandApp

from dreamdist3d.cli.given import given, left_out

mini = SubcommandApp()


@dataclass(frozen=True)
class RecipeSettings:
    """Amounts of the training recipe; those left out are those of the shipped weights."""

    seed: Annotated[int | None, left_out("INT", "0")] = None
    """Of data, initial weights and every step."""
    objects: Annotated[int | None, left_out("INT", "5000")] = None
    """How many are rendered for training."""
    autoencoder_steps: Annotated[int | None, left_out("INT", "4800")] = None
    """Of the latent space."""
    diffusion_steps: Annotated[int | None, left_out("INT", "9500")] = None
    """Of text encoder and UNet."""
    clip_steps: Annotated[int | None, left_out("INT", "2200")] = None
    """Of the text-and-image judge."""
    dino_steps: Annotated[int | None, left_out("INT", "900")] = None
    """Of the label-free judge."""
    workers: Annotated[int | None, left_out("INT", "one a core")] = None
    """Training processes; the result depends on their number."""


@mini.command(name="train")
def mini_train(
    out: Path,
    settings: Annotated[RecipeSettings, arg(name="")] = RecipeSettings(),
) -> None:
    """Train the miniature backbone and its judges from nothing; goes on where it was stopped.

    Args:
        out: the folder for data, checkpoints, logs, pictures and, in the end, weights/.
    """
    from dreamdist3d.mini.recipe import Recipe, train

    print(train(out, Recipe(**given(settings))))


@mini.command(name="references")
def mini_references(folder: Positional[Path], family: str = "mushroom", count: int = 20, seed: int = 0) -> None:
    """Render reference images of one family.

    Args:
        folder: where the images go.
        family: mushroom, chair, table, mug, house, rocket, tree, lamp, snowman or car.
        count: how many.
        seed: of the objects.
    """
    from dreamdist3d.mini.references import write_references

    write_references(folder, family, count, seed)
    print(folder)
