"""The command that makes what prompt distributions are compared with."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from dreamdist3d.choices import BaselineMethod, Device
from dreamdist3d.cli.distributions import ExecutionSettings
from dreamdist3d.cli.given import BackboneName, given, left_out


@dataclass(frozen=True)
class BaselineSettings:
    """Settings of a baseline; those left out take the method's preset for the backbone."""

    words: Annotated[tuple[str, ...] | None, left_out("TEXT [TEXT ...]", "none")] = None
    """The class of the pictures, for methods that change the model; the prompts, for words; the one of ip-adapter."""
    steps: Annotated[int | None, left_out("INT", "the method's")] = None
    """Optimisation steps."""
    batch: Annotated[int | None, left_out("INT", "the method's")] = None
    """References a step, and as many class pictures; with one inversion for each, of each."""
    lr: Annotated[float | None, left_out("FLOAT", "the method's")] = None
    """Learning rate."""
    seed: Annotated[int | None, left_out("INT", "0")] = None
    """Of initialisation, noise and class pictures."""
    tokens: Annotated[int | None, left_out("INT", "4")] = None
    """M, learned vectors of an inversion."""
    rank: Annotated[int | None, left_out("INT", "8")] = None
    """Of LoRA's factors."""
    prior: Annotated[int | None, left_out("INT", "the method's")] = None
    """Class pictures that the unchanged model makes first; 0 for no prior preservation."""
    prior_weight: Annotated[float | None, left_out("FLOAT", "1")] = None
    """Of their loss."""
    noise: Annotated[float | None, left_out("FLOAT", "0.5")] = None
    """On an inversion's tokens, in their standard deviation."""
    copies: Annotated[int | None, left_out("INT", "256")] = None
    """Disturbed prompts to draw from."""
    apprentice: Annotated[str | None, left_out("FILE", "the one that ships")] = None
    """What shows pictures to the UNet, for ip-adapter."""


_AS_IS = ExecutionSettings()


def baseline(
    method: Positional[BaselineMethod],
    references: Annotated[
        Positional[Path | None], arg(metavar="FOLDER", help_behavior_hint="(words alone may leave it out)")
    ] = None,
    *,
    out: Path,
    backbone: BackboneName = "mini",
    settings: Annotated[BaselineSettings, arg(name="")] = BaselineSettings(),
    execution: Annotated[ExecutionSettings, arg(name="")] = _AS_IS,
    restart: bool = False,
    device: Device = "auto",
) -> None:
    """Make what distributions are compared with: prompts, and where a method changes it, a backbone.

    Prints what `sample` and lifts take. The same command again goes on.

    Args:
        method: textual inversion, with noise, or one for each reference; DreamBooth, whole or as LoRA factors; Custom
            Diffusion; words with the pictures beside them, as in IP-Adapter; plain words.
        references: the folder of pictures.
        out: the folder for prompts.safetensors, class/ and backbone/.
        restart: forget what the folder holds of a baseline.
        device: where to compute.
    """
    from dreamdist3d.backbones import load_backbone
    from dreamdist3d.baselines import make_baseline, preset
    from dreamdist3d.prompts import Execution, load_references
    from dreamdist3d.runs.prepare import resolve_device

    model = load_backbone(backbone, resolve_device(device))
    config = preset(model, method, **given(settings))
    pictures = load_references(references, model.image_size) if references else None
    for path, reason in pictures.skipped if pictures else ():
        print(f"skipped {path}: {reason}", file=sys.stderr)
    steps = Execution(execution.precision, execution.compile, checkpointing=execution.low_vram)
    made = make_baseline(model, pictures, config, out, restart, steps)
    print(made.prompts)
    if made.backbone == str(out / "backbone"):
        print(f"system.backbone={made.backbone}")
