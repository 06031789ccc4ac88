"""A run's draw, made concrete while threestudio reads its configuration and before it builds anything."""

import functools
import warnings
from collections.abc import MutableMapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.resolvers.oc import env
from threestudio.utils.config import ExperimentConfig

from dreamdist3d.config import PromptProcessorConfig
from dreamdist3d.errors import UserError
from dreamdist3d.files import read_json, write_json
from dreamdist3d.guidance.directions import view_words
from dreamdist3d.threestudio import draws
from dreamdist3d.threestudio.prompts import check_prompt, identity_of
from dreamdist3d.typed import unknown_key

from .errors import one_line_errors
from .prompt_processor import NAME, DistributionPromptProcessor, check_keys

_SECTION = "system.prompt_processor"


def follow_draws() -> None:
    """Complete every configuration that uses our prompt processor: draw seed, tag, and where the record is.

    A processor sees its own section alone and is built by some systems for training only. The one place that
    sees the whole, in every process and at every stage, is the configuration itself: launch.py makes it after
    loading the extensions, names the trial's folder in its `__post_init__`, and takes the snapshot from it. What
    cannot work, or is another draw than the run's, is refused before there is a folder or a snapshot.
    """
    name_folder = ExperimentConfig.__post_init__
    variables = _watched_environment()

    @functools.wraps(name_folder)
    def complete(config: ExperimentConfig) -> None:
        read = [variables.pop() for _ in range(len(variables))]
        if config.system.get("prompt_processor_type") != NAME:
            name_folder(config)
            return
        with one_line_errors():
            _refuse(read)
            section = _section(config)
            settings = _settled(config, section)
            _check(config, section, settings)
            name_folder(config)
            _settle_record(config, section, settings)

    ExperimentConfig.__post_init__ = complete


def _watched_environment() -> list[str]:
    """The names that configurations read with `${oc.env:NAME}` from now on, as they are resolved."""
    read: list[str] = []

    def watched(name: str, *default: str) -> Any:
        read.append(name)
        return env(name, *default)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # newer versions call it by another name
        OmegaConf.register_new_resolver("oc.env", watched, replace=True)
    return read


def _refuse(variables: Sequence[str]) -> None:
    """A configuration may come from a stranger, and what it resolves to is kept in files that are passed on."""
    if variables:
        raise UserError(
            f"the configuration reads the environment (${{oc.env:{variables[0]}}}), whose values would be written into "
            "the run's files: give the value itself on the command line."
        )


def _section(config: ExperimentConfig) -> MutableMapping[str, Any]:
    """The prompt processor's keys, all of which it must know."""
    section = config.system.get("prompt_processor")
    if not section:
        raise UserError(f"{_SECTION} is missing: give {_SECTION}.distribution=FILE.safetensors.")
    known = {f.name for f in fields(DistributionPromptProcessor.Config)}
    for key in section:
        if key not in known:
            raise unknown_key(DistributionPromptProcessor.Config, key, _SECTION)
    # Other extensions' configurations demand a prompt, which a draw has no use for; `key=` is null on the command line.
    for key in ("prompt", "negative_prompt"):
        if section.get(key) is None:
            section[key] = ""
    return section


def _settled(config: ExperimentConfig, section: MutableMapping[str, Any]) -> PromptProcessorConfig:
    """The settings with a concrete draw, which the configuration gets as well, and a tag that says it."""
    earlier = Path(config.resume) if config.resume else None
    settings = draws.concrete(draws.settings_of(section), earlier)
    section["draw_seed"] = settings.draw_seed
    # A run that goes on in its own folder stays there, whatever its distribution's file is called by now.
    if earlier is None or earlier.resolve().parent.parent != _folder(config).resolve():
        config.tag = draws.tag_of(settings, config.tag or "", config.seed)
    return settings


def _folder(config: ExperimentConfig) -> Path:
    """Where threestudio puts the run of a configuration whose timestamp is settled."""
    return Path(config.exp_root_dir) / config.name / f"{config.tag or ''}{config.timestamp or ''}"


def _check(config: ExperimentConfig, section: MutableMapping[str, Any], settings: PromptProcessorConfig) -> None:
    """Refuse what cannot work now: a guidance that is built first takes minutes."""
    if config.resume:
        draws.check(draws.record_of(Path(config.resume)), identity_of(settings))
    if draws.leads():
        cfg = DistributionPromptProcessor.Config(**section)
        check_keys(cfg, settings)
        check_prompt(settings, cfg.pretrained_model_name_or_path, view_words(cfg.view_dependent_prompt_front))


def _settle_record(
    config: ExperimentConfig, section: MutableMapping[str, Any], settings: PromptProcessorConfig
) -> None:
    """Point the processor at the trial's record; of a run that goes on elsewhere the record comes along."""
    record = Path(config.trial_dir) / draws.RECORD
    section["record"] = str(record)
    draws.check(record, identity_of(settings))
    if draws.leads() and not record.exists() and config.resume and draws.record_of(Path(config.resume)).exists():
        write_json(record, read_json(draws.record_of(Path(config.resume))))
