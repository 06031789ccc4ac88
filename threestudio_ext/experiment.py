"""A run's draw, made concrete while threestudio reads its configuration and before it builds anything."""

import functools
from collections.abc import MutableMapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from threestudio.utils.config import ExperimentConfig

from dreamdist3d.errors import UserError
from dreamdist3d.files import read_json, write_json
from dreamdist3d.guidance.directions import view_words
from dreamdist3d.threestudio import draws
from dreamdist3d.threestudio.prompts import check_prompt
from dreamdist3d.typed import unknown_key

from .errors import one_line_errors
from .prompt_processor import NAME, DistributionPromptProcessor, check_keys

_SECTION = "system.prompt_processor"


def follow_draws() -> None:
    """Complete every configuration that uses our prompt processor: draw seed, tag, and where the record is.

    A processor sees its own section alone and is built by some systems for training only. The one place that
    sees the whole, in every process and at every stage, is the configuration itself: launch.py makes it after
    loading the extensions, names the trial's folder in its `__post_init__`, and takes the snapshot from it.
    """
    name_folder = ExperimentConfig.__post_init__

    @functools.wraps(name_folder)
    def complete(config: ExperimentConfig) -> None:
        if config.system.get("prompt_processor_type") != NAME:
            name_folder(config)
            return
        with one_line_errors():
            section = _section(config)
            _settle_draw(config, section)
            name_folder(config)
            _settle_record(config, section)

    ExperimentConfig.__post_init__ = complete


def _section(config: ExperimentConfig) -> MutableMapping[str, Any]:
    """The prompt processor's keys, all of which it must know."""
    section = config.system.get("prompt_processor")
    if not section:
        raise UserError(f"{_SECTION} is missing: give {_SECTION}.distribution=FILE.safetensors.")
    known = {f.name for f in fields(DistributionPromptProcessor.Config)}
    for key in section:
        if key not in known:
            raise unknown_key(DistributionPromptProcessor.Config, key, _SECTION)
    if section.get("prompt") is None:  # other extensions' configurations demand one, which a draw has no use for
        section["prompt"] = ""
    return section


def _settle_draw(config: ExperimentConfig, section: MutableMapping[str, Any]) -> None:
    earlier = Path(config.resume) if config.resume else None
    settings = draws.concrete(draws.settings_of(section), earlier)
    section["draw_seed"] = settings.draw_seed
    config.tag = draws.tag_of(settings, config.tag or "", config.seed)


def _settle_record(config: ExperimentConfig, section: MutableMapping[str, Any]) -> None:
    """Point the processor at the trial's record; of a run that goes on elsewhere the record comes along."""
    record = Path(config.trial_dir) / draws.RECORD
    section["record"] = str(record)
    if record.exists() or not draws.leads():
        return
    if config.resume and draws.record_of(Path(config.resume)).exists():
        write_json(record, read_json(draws.record_of(Path(config.resume))))
    else:
        _check(section)


def _check(section: MutableMapping[str, Any]) -> None:
    """Refuse what cannot work now: a guidance that is built first takes minutes."""
    cfg, settings = DistributionPromptProcessor.Config(**section), draws.settings_of(section)
    check_keys(cfg, settings)
    check_prompt(settings, cfg.pretrained_model_name_or_path, view_words(cfg.view_dependent_prompt_front))
