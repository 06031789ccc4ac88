"""A run's folder: exp_root_dir/name/tag, and what makes a second start the same run."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from dreamdist3d.config import PromptProcessorConfig, RunConfig
from dreamdist3d.errors import UserError, shown
from dreamdist3d.files import ensure_folder, safe_name, sweep
from dreamdist3d.runs.locks import LOCK, hold
from dreamdist3d.runs.manifest import Manifest
from dreamdist3d.typed import build

_SEED_BITS = 31


@dataclass(frozen=True)
class Trial:
    """The folder of one run, threestudio's layout."""

    folder: Path

    @property
    def manifest_path(self) -> Path:
        return self.folder / "run.json"

    @property
    def last_checkpoint(self) -> Path:
        return self.folder / "ckpts" / "last.ckpt"

    @property
    def parsed_config(self) -> Path:
        return self.folder / "configs" / "parsed.yaml"

    @property
    def save_folder(self) -> Path:
        return self.folder / "save"

    @property
    def mesh(self) -> Path:
        return self.folder / "export" / "model.glb"

    def manifest(self) -> Manifest | None:
        """What an earlier start recorded, if there was one."""
        return Manifest.load(self.manifest_path) if self.manifest_path.exists() else None

    def results(self) -> dict[str, int]:
        """The pictures, meshes and packages that are here, and how many bytes each has."""
        found = [path for folder in (self.save_folder, self.mesh.parent) for path in sorted(folder.rglob("*"))]
        shown = [path for path in found if path.is_file() and not path.name.startswith(".")]
        return {path.relative_to(self.folder).as_posix(): path.stat().st_size for path in shown}

    def lacks(self, manifest: Manifest) -> str | None:
        """The first result of a finished run that is gone or not as long as it was; None if all are whole."""
        now = self.results()
        mesh = self.mesh.relative_to(self.folder).as_posix()
        wanted = manifest.files or {mesh: now.get(mesh, -1)}  # records of earlier versions list no files
        return next((name for name, size in wanted.items() if now.get(name) != size), None)

    def require_trained(self) -> None:
        """That a run was lifted here.

        Raises:
            UserError: it is no run's folder, or nothing was lifted yet.
        """
        if not self.manifest_path.exists():
            raise UserError(f"{self.folder} is not the folder of a run: there is no run.json in it.")
        if not self.last_checkpoint.exists():
            raise UserError(
                f"{self.folder} has no trained field yet: {self.last_checkpoint} is missing; let the run end first."
            )

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes out of the folder; the system frees it even when this one is killed.

        What killed processes left half-written in it is removed.

        Raises:
            Busy: another process works there.
            UserError: the folder cannot be written, or leads elsewhere.
        """
        ensure_folder(self.folder)
        with hold(self.folder / LOCK):
            sweep(self.folder)
            yield


def locate(config: RunConfig) -> tuple[Trial, RunConfig]:
    """The folder of a run, and its configuration with tag, draw seed and prompt made concrete.

    With `resume` it is the folder that owns the checkpoint, else exp_root_dir/name/tag. What an
    earlier start recorded there (above all the draw) holds for this one.

    Raises:
        UserError: `resume` names no checkpoint of a run, or the prompt is not the recorded one.
    """
    processor = config.system.prompt_processor
    if config.resume:
        trial = _owner(Path(config.resume))
        processor = _recalled(processor, trial)
    elif config.tag:
        trial = _under_root(config, config.tag)
        processor = _with_seed(_recalled(processor, trial))
    else:
        processor = _with_seed(processor)
        trial = _under_root(config, default_tag(processor, config.seed))
        processor = _recalled(processor, trial)
    system = replace(config.system, prompt_processor=processor)
    return trial, replace(config, tag=trial.folder.name, seed=_seed(config, trial), system=system)


def default_tag(processor: PromptProcessorConfig, seed: int) -> str:
    """`<distribution's name>-<draw seed>`, or `<prompt>-<seed>` for a plain text."""
    if processor.files:
        names = "+".join(Path(name).stem for name in processor.files)
        return f"{safe_name(names)}-{processor.draw_seed}{'-twin' if processor.antithetic else ''}"
    return f"{safe_name(processor.prompt)}-{seed}"


def _under_root(config: RunConfig, tag: str) -> Trial:
    return Trial(Path(config.exp_root_dir) / safe_name(config.name) / safe_name(tag))


def _owner(checkpoint: Path) -> Trial:
    trial = Trial(checkpoint.parent.parent)
    if not checkpoint.is_file() or not trial.manifest_path.exists():
        raise UserError(f"resume={checkpoint} is no checkpoint of a run; give <run folder>/ckpts/last.ckpt.")
    return trial


def _seed(config: RunConfig, trial: Trial) -> int:
    """The one that the run was begun with: its checkpoint goes on with it whatever is asked now."""
    manifest = trial.manifest()
    recorded = manifest.config.get("seed") if manifest is not None else None
    return recorded if isinstance(recorded, int) and recorded >= 0 else config.seed


def _with_seed(processor: PromptProcessorConfig) -> PromptProcessorConfig:
    if not processor.files or processor.draw_seed is not None:
        return processor
    return replace(processor, draw_seed=secrets.randbits(_SEED_BITS))


def _recalled(processor: PromptProcessorConfig, trial: Trial) -> PromptProcessorConfig:
    """The prompt section as an earlier start recorded it, provided that this one does not contradict it."""
    manifest = trial.manifest()
    if manifest is None:
        return processor
    where = f"{trial.manifest_path}: system.prompt_processor"
    system = manifest.config.get("system")
    section: Any = system.get("prompt_processor") if isinstance(system, dict) else None
    recorded = build(PromptProcessorConfig, section, where)
    if processor.distribution is None and not processor.prompt:
        path = (manifest.distribution or {}).get("path")
        return build(PromptProcessorConfig, section | {"distribution": path}, where)
    if processor.draw_seed is None:
        processor = replace(processor, draw_seed=recorded.draw_seed)
    for name in (f.name for f in fields(processor) if f.name != "distribution"):
        was, now = getattr(recorded, name), getattr(processor, name)
        if was != now:
            raise UserError(
                f"{trial.folder} was begun with system.prompt_processor.{name}={shown(was)}, not {shown(now)}; "
                "put it back, or choose another tag for a new run."
            )
    return processor
