"""Who makes the assets of runs: this package's own lift, or TRELLIS; models stay loaded from run to run."""

from collections.abc import Sequence
from typing import Any

from dreamdist3d.backbones.licences import terms_of_run
from dreamdist3d.config import SystemConfig
from dreamdist3d.errors import UserError
from dreamdist3d.licences import Terms
from dreamdist3d.prompts import SoftPromptEncoder
from dreamdist3d.runs import prepare as native, trellis, walk as native_walk
from dreamdist3d.runs.manifest import Manifest
from dreamdist3d.runs.run import Run

Models = Any
"""A `Backbone`, or TRELLIS's pipeline."""

Ready = native.Prepared | trellis.PreparedTrellis
"""A run that everything is known of."""


def open_models(system: SystemConfig) -> Models:
    """Load what the engine makes assets with.

    Raises:
        UserError: weights, the checkout or a device are missing.
    """
    check_engine(system)
    return trellis.open_models(system) if system.engine == "trellis" else native.open_backbone(system)


def prepare(run: Run, models: Models | None = None) -> Ready | None:
    """Open the distribution and encode the draw; None for a finished run.

    Raises:
        UserError: whatever the user can mend, before a file is written or a minute is spent.
    """
    system = run.config.system
    check_engine(system)
    return trellis.prepare(run, models) if system.engine == "trellis" else native.prepare(run, models)


def walk(runs: Sequence[Ready]) -> list[UserError | None]:
    """Make the assets of prepared runs of one engine, whose folders are locked by the caller.

    Returns:
        For each run None, or the error that ended it.

    Raises:
        Stopped: on Ctrl-C or SIGTERM.
    """
    if isinstance(runs[0], trellis.PreparedTrellis):
        return trellis.walk([one for one in runs if isinstance(one, trellis.PreparedTrellis)])
    return native_walk.walk([one for one in runs if isinstance(one, native.Prepared)])


def check_engine(system: SystemConfig) -> None:
    """That this package can work with the engine itself.

    Raises:
        UserError: threestudio has runs of its own, by `launch --engine threestudio` alone.
    """
    if system.engine == "threestudio":
        raise UserError("system.engine is threestudio, which `launch` alone hands runs to: choose native or trellis.")


def prompt_encoder(system: SystemConfig) -> SoftPromptEncoder:
    """The text encoder that the engine's prompts go through.

    Raises:
        UserError: as `open_models`.
    """
    models = open_models(system)
    return models.encoder if system.engine == "trellis" else SoftPromptEncoder(models.tokenizer, models.text_encoder)


def licences_of(manifest: Manifest) -> list[Terms]:
    """The terms of what a run was made with, as far as its record tells."""
    learned_with = (manifest.distribution or {}).get("learned_with")
    if trellis.is_of_trellis(manifest):
        return [*trellis.terms_of(manifest), *terms_of_run(None, learned_with)]
    return terms_of_run((manifest.backbone or {}).get("name"), learned_with)
