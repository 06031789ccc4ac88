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
    objects: Annotated[int | None, left_out("INT", "8000")] = None
    """How many are rendered for the generator."""
    judge_objects: Annotated[int | None, left_out("INT", "5000")] = None
    """How many others are rendered for its judges."""
    autoencoder_steps: Annotated[int | None, left_out("INT", "20000")] = None
    """Of the latent space."""
    diffusion_steps: Annotated[int | None, left_out("INT", "60000")] = None
    """Of text encoder and UNet."""
    clip_steps: Annotated[int | None, left_out("INT", "8000")] = None
    """Of the text-and-image judge."""
    dino_steps: Annotated[int | None, left_out("INT", "8000")] = None
    """Of the label-free judge."""
    autoencoder_batch: Annotated[int | None, left_out("INT", "32")] = None
    """Pictures a step."""
    diffusion_objects: Annotated[int | None, left_out("INT", "8")] = None
    """Objects of four views a step."""
    clip_batch: Annotated[int | None, left_out("INT", "96")] = None
    """Pictures a step."""
    dino_batch: Annotated[int | None, left_out("INT", "96")] = None
    """Objects a step, two pictures of each."""
    device: Annotated[str | None, left_out("STR", "cpu")] = None
    """cpu, or cuda, where steps take milliseconds in bfloat16."""
    workers: Annotated[int | None, left_out("INT", "one a core")] = None
    """Processes that render and, on a CPU, train; the result depends on their number."""


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
        family: one of the twenty, such as mushroom, house, teapot or bird; another word is answered with all of them.
        count: how many.
        seed: of the objects.
    """
    from dreamdist3d.mini.references import write_references

    write_references(folder, family, count, seed)
    print(folder)
