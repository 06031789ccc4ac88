"""Run one of our configurations through an installed threestudio."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import OmegaConf

from dreamdist3d.config import PromptProcessorConfig, RunConfig
from dreamdist3d.errors import UserError, one_line
from dreamdist3d.files import safe_name
from dreamdist3d.threestudio import draws
from dreamdist3d.threestudio.install import target_in
from dreamdist3d.threestudio.translate import translate
from dreamdist3d.yamls import parse_yaml, resolved

if TYPE_CHECKING:
    # Torch is not loaded here: this process only waits, for hours.
    from dreamdist3d.runs.one import Mode

HOME_VARIABLE = "THREESTUDIO_HOME"


def launch_threestudio(config: RunConfig, mode: "Mode" = "train") -> Path:
    """Hand a run to `launch.py` of the threestudio in $THREESTUDIO_HOME and wait for it; returns the run's folder.

    `train` ends with an export, as ours does. The folder is `<exp_root_dir>/<name>/<tag>-<distribution>-<draw
    seed>@<time>`, in threestudio's layout; with `resume` it is the one that owns the checkpoint.

    Raises:
        UserError: there is no threestudio with the extension, `mode` needs a checkpoint, or threestudio failed.
    """
    home = find_home()
    if mode != "train" and not config.resume:
        raise UserError(f"--{mode} with --engine threestudio needs the checkpoint: give resume=RUN/ckpts/last.ckpt.")
    config, folder = settle(config)
    _launch(home, translate(config, folder), mode)
    if mode == "train":
        trained = replace(config, resume=str(folder / "ckpts" / "last.ckpt"))
        _launch(home, translate(trained, folder), "export")
    return folder


def find_home() -> Path:
    """The checkout of threestudio that $THREESTUDIO_HOME names.

    Raises:
        UserError: the variable is not set, or the extension is not installed there.
    """
    home = os.environ.get(HOME_VARIABLE)
    if not home:
        raise UserError(f"--engine threestudio needs a checkout of threestudio: set {HOME_VARIABLE} to its folder.")
    if not target_in(Path(home)).exists():
        raise UserError(f"{home} has no dreamdist3d extension: run `dreamdist3d threestudio install {home}`.")
    return Path(home)


def settle(config: RunConfig) -> tuple[RunConfig, Path]:
    """The configuration with a concrete draw, and the folder of its run.

    Raises:
        UserError: `resume` names no checkpoint, or another draw than the run it belongs to.
    """
    checkpoint = Path(config.resume).absolute() if config.resume else None
    if checkpoint and not checkpoint.is_file():
        raise UserError(f"resume={config.resume} is no checkpoint of a run; give <run folder>/ckpts/last.ckpt.")
    processor = config.system.prompt_processor
    if checkpoint and not processor.files and not processor.prompt.strip():
        processor = _recalled(checkpoint)
    processor = draws.concrete(processor, checkpoint)
    config = replace(config, system=replace(config.system, prompt_processor=processor))
    if checkpoint:
        return config, checkpoint.parent.parent
    tag = draws.tag_of(processor, config.tag, config.seed)
    # Runs of the other engine have no time in their name, so the two never share a folder.
    name = f"{tag}{datetime.now():@%Y%m%d-%H%M%S}"
    return config, Path(config.exp_root_dir).absolute() / safe_name(config.name) / name


def _recalled(checkpoint: Path) -> PromptProcessorConfig:
    """The prompt section that the checkpoint's run was made with."""
    parsed = checkpoint.parent.parent / "configs" / "parsed.yaml"
    if not parsed.is_file():
        raise UserError(f"{parsed} is missing: name the distribution that the run was made with.")
    try:
        tree = parse_yaml(parsed.read_text(encoding="utf-8"))
        section = resolved(tree, str(parsed))["system"]["prompt_processor"]
    except (OSError, ValueError, TypeError, AttributeError, KeyError) as error:
        raise UserError(f"{parsed} is not what threestudio writes: {one_line(error)}.") from error
    return draws.settings_of(OmegaConf.create(section))


def _launch(home: Path, tree: Mapping[str, Any], mode: "Mode") -> None:
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "dreamdist3d.yaml"
        OmegaConf.save(OmegaConf.create(dict(tree)), path)
        command = [sys.executable, "launch.py", "--config", str(path), f"--{mode}"]
        code = subprocess.run(command, cwd=home, check=False).returncode
    if code:
        raise UserError(f"threestudio ended --{mode} with exit code {code}; what it said is above.")
