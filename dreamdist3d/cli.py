"""The commands: each parses, calls one function of the library, and prints where the result is.

Nothing heavy is imported before a command is chosen, so that `--help` answers at once.
"""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from tyro.conf import FlagCreatePairsOff, Positional, arg, create_mutex_group
from tyro.extras import SubcommandApp

from dreamdist3d.errors import UserError

app = SubcommandApp()
mini = SubcommandApp()
app.command(mini, name="mini", help="The miniature world: train its backbone, render reference images.")

_MODE = create_mutex_group(required=False)


@dataclass(frozen=True)
class LearnSettings:
    """Settings of Algorithm 1; those left out take the backbone's preset."""

    prompts: int | None = None
    """K, the prompts that span the distribution; 1 is textual inversion."""
    tokens: int | None = None
    """M, learned vectors in each prompt."""
    samples: int | None = None
    """S, draws per image and step."""
    batch: int | None = None
    """Images per step."""
    steps: int | None = None
    """Optimisation steps."""
    lr: float | None = None
    """Learning rate."""
    ortho: float | None = None
    """Weight of the orthogonality term."""
    covariance: Literal["low_rank", "diagonal"] | None = None
    """The Gaussian: the prompts' full covariance, or the paper's diagonal."""
    prefix: str | None = None
    """Fixed words before the tokens."""
    suffix: str | None = None
    """Fixed words after them."""
    seed: int | None = None
    """Of initialisation, noise and draws."""
    min_snr_gamma: float | None = None
    """Min-SNR loss weighting (usually 5)."""


@app.command
def learn(
    folder: Positional[Path],
    out: Path,
    backbone: str = "mini",
    settings: Annotated[LearnSettings, arg(name="")] = LearnSettings(),
    restart: bool = False,
    device: Literal["auto", "cpu", "cuda"] = "auto",
) -> None:
    """Learn a prompt distribution from a folder of reference images.

    Args:
        folder: reference images (jpg, png, webp).
        out: the safetensors file to write.
        backbone: mini, mvdream, sd21 or a local folder.
        restart: forget the checkpoint of an interrupted learning.
        device: where to compute.
    """
    from dreamdist3d.backbones import load_backbone
    from dreamdist3d.prompts import learn, load_references, preset_for
    from dreamdist3d.runs.one import resolve_device

    model = load_backbone(backbone, resolve_device(device))
    references = load_references(folder, model.image_size)
    for path, reason in references.skipped:
        print(f"skipped {path}: {reason}", file=sys.stderr)
    learn(model, references, replace(preset_for(model), **_given(settings)), out, restart)
    print(out)


@app.command
def launch(
    config: str,
    overrides: Positional[tuple[str, ...]] = (),
    train: Annotated[bool, _MODE] = False,
    test: Annotated[bool, _MODE] = False,
    export: Annotated[bool, _MODE] = False,
) -> None:
    """One run: a draw of a distribution, or a plain prompt, lifted to a 3D asset.

    Args:
        config: a YAML file, as given or below configs/, e.g. dreamdist3d/mini.yaml.
        overrides: key=value for any key of the configuration.
        train: the whole road, from the last checkpoint if there is one (the default).
        test: render the views of a trained run again.
        export: extract the mesh of a trained run again.
    """
    from dreamdist3d.config import load_config

    settings = load_config(config, overrides)
    from dreamdist3d.runs.one import run_once

    print(run_once(settings, "test" if test else "export" if export else "train").folder)


@app.command
def export(runs: Positional[tuple[Path, ...]]) -> None:
    """Extract the meshes of trained runs again.

    Args:
        runs: folders of runs.
    """
    from dreamdist3d.runs.one import export_again

    for run in runs:
        print(export_again(run).mesh)


@app.command
def evaluate(sets: Positional[tuple[Path, ...]], out: Path = Path("report"), references: Path | None = None) -> None:
    """Score the diversity of sets of assets and their likeness to reference images.

    Args:
        sets: folders, each of one run, of runs, or of GLB files.
        out: the folder for report.json and report.html.
        references: a folder of reference images.
    """
    from dreamdist3d.eval import evaluate

    evaluate(sets, references, out)
    print(out / "report.html")


@app.command
def demo(
    out: Path = Path("outputs/demo"), runs: Annotated[int, arg(metavar="N")] = 4, family: str = "mushroom"
) -> None:
    """Walk the whole road in miniature: references, learning, runs, report. Goes on where it was stopped.

    Args:
        out: the folder for everything.
        runs: assets to make.
        family: what the reference images show.
    """
    from dreamdist3d.demo import demo

    print(demo(out, runs, family, say=lambda line: print(line, flush=True)))


@dataclass(frozen=True)
class RecipeSettings:
    """Amounts of the training recipe; those left out are those of the shipped weights."""

    seed: int | None = None
    """Of data, initial weights and every step."""
    objects: int | None = None
    """How many are rendered for training."""
    autoencoder_steps: int | None = None
    """Of the latent space."""
    diffusion_steps: int | None = None
    """Of text encoder and UNet."""
    clip_steps: int | None = None
    """Of the text-and-image judge."""
    dino_steps: int | None = None
    """Of the label-free judge."""
    workers: int | None = None
    """Training processes; the result depends on their number. Left out: one a core."""


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

    print(train(out, Recipe(**_given(settings))))


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


def main(args: Sequence[str] | None = None) -> int:
    """`dreamdist3d COMMAND ...`: the exit code, 0 when the command did its work."""
    return _guarded(lambda: app.cli(prog="dreamdist3d", args=args, config=(FlagCreatePairsOff,)))


def launch_main(args: Sequence[str] | None = None) -> int:
    """`launch.py --config ...`: the same as `dreamdist3d launch --config ...`."""
    return main(["launch", *(sys.argv[1:] if args is None else args)])


def _given(settings: LearnSettings | RecipeSettings) -> dict[str, Any]:
    return {name: value for name, value in vars(settings).items() if value is not None}


def _guarded(command: Callable[[], None]) -> int:
    """Errors of the user become one line and an exit code; all others are bugs and show where they are."""
    try:
        command()
    except UserError as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("error: interrupted", file=sys.stderr)
        return 130
    return 0
