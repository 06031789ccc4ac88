"""One concrete draw for a run of threestudio, the same in every process and at every later start."""

import os
import secrets
from collections.abc import Mapping, MutableMapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from dreamdist3d.config import PromptProcessorConfig
from dreamdist3d.errors import UserError
from dreamdist3d.files import read_json, safe_name
from dreamdist3d.runs.trial import default_tag
from dreamdist3d.typed import build

RECORD = "dreamdist3d.json"  # beside configs/ and ckpts/ in a trial's folder
SEED_VARIABLE = "DREAMDIST3D_DRAW_SEED"
_SEED_BITS = 31
# Set in the processes that are started for a further GPU or machine, by Lightning, torchrun, Slurm and MPI.
_RANKS = ("RANK", "LOCAL_RANK", "SLURM_PROCID", "JSM_NAMESPACE_RANK", "NODE_RANK", "GROUP_RANK")


def settings_of(section: Any) -> PromptProcessorConfig:
    """Our keys in a prompt processor's section; those of threestudio's base class are left alone.

    Raises:
        UserError: a value of the wrong type.
    """
    values: Any = OmegaConf.to_container(section, resolve=True)
    ours = {f.name: values[f.name] for f in fields(PromptProcessorConfig) if f.name in values}
    return build(PromptProcessorConfig, ours, "system.prompt_processor")


def shared_seed(environment: MutableMapping[str, str] = os.environ) -> int:
    """A fresh draw seed that the processes started from this one get as well, by their environment.

    Raises:
        UserError: this is a process of several that somebody else started; they have no seed in common.
    """
    if leads(environment):
        environment[SEED_VARIABLE] = str(secrets.randbits(_SEED_BITS))
    elif SEED_VARIABLE not in environment:
        raise UserError(
            "processes started from outside have no draw in common: give system.prompt_processor.draw_seed=NUMBER."
        )
    return int(environment[SEED_VARIABLE])


def concrete(
    settings: PromptProcessorConfig, earlier: Path | None, environment: MutableMapping[str, str] = os.environ
) -> PromptProcessorConfig:
    """The settings with a draw seed: the given one, that of the earlier run, or a fresh one.

    Args:
        settings: as the configuration has them; a plain text prompt needs no draw.
        earlier: a checkpoint that the run goes on from.
        environment: where processes share what the first one drew.

    Raises:
        UserError: the earlier run's draw is unknown, or another one is asked for.
    """
    if not settings.files:
        return settings
    if earlier is None:
        return settings if settings.draw_seed is not None else replace(settings, draw_seed=shared_seed(environment))
    record = record_of(earlier)
    was = read_json(record)["draw"]["seed"] if record.exists() else settings.draw_seed
    if was is None:
        raise UserError(f"{record} is missing, so the draw of {earlier} is unknown: give draw_seed=NUMBER.")
    if settings.draw_seed not in (None, was):
        raise UserError(
            f"{earlier} was trained with draw_seed={was}, not {settings.draw_seed}: leave draw_seed out, "
            "or start a new run for a new draw."
        )
    return replace(settings, draw_seed=was)


def record_of(checkpoint: Path) -> Path:
    """The record of the run that owns `<trial>/ckpts/<name>.ckpt`."""
    return checkpoint.parent.parent / RECORD


def tag_of(settings: PromptProcessorConfig, tag: str, seed: int) -> str:
    """A folder's name that says which distribution and which draw: `<tag>-<distribution>-<draw seed>`.

    Always one path component, and the same for a tag that says so already.
    """
    draw = default_tag(settings, seed)
    own = tag.strip().removesuffix(draw).rstrip("-")
    return f"{safe_name(own)}-{draw}" if own else draw


def check(record: Path, identity: Mapping[str, Any]) -> None:
    """Compare a run's draw with its record, if there is one.

    Raises:
        UserError: the run was begun with another draw or distribution.
    """
    recorded = read_json(record) if record.exists() else identity
    for what in sorted({*recorded, *identity}):
        was, now = recorded.get(what) or {}, identity.get(what) or {}
        changed = [name for name in sorted({*was, *now}) if not _same(name, was, now)]
        if changed:
            name = changed[0]
            raise UserError(
                f"{record} has another {what} on record ({name} was {_short(was.get(name))}, "
                f"now {_short(now.get(name))}): put it back, or choose another tag for a new run."
            )


def _same(name: str, was: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    if name == "path":  # files may move: it is their content that counts
        return True
    if name == "omega_sha256" and name not in now:  # not encoded yet
        return True
    if name == "component" and name not in was:  # earlier versions did not write the first one down
        return not now[name]
    return was.get(name) == now.get(name)


def leads(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether this is the first of a run's processes."""
    return all(environment.get(name, "0") == "0" for name in _RANKS)


def _short(value: Any) -> str:
    return str(value)[:40]
