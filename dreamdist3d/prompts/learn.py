"""Learning a prompt distribution from reference images: from pictures to a file, stoppable at any moment."""

from dataclasses import asdict
from pathlib import Path

from dreamdist3d.backbones import Backbone
from dreamdist3d.errors import Stopped, UserError
from dreamdist3d.files import ensure_folder
from dreamdist3d.progress import bar
from dreamdist3d.prompts.checkpoint import Checkpoint
from dreamdist3d.prompts.distribution import PromptDistribution
from dreamdist3d.prompts.images import ReferenceImages
from dreamdist3d.prompts.latents import encode_references
from dreamdist3d.prompts.learner import Learner
from dreamdist3d.prompts.settings import LearnConfig, preset_for
from dreamdist3d.stopping import StopSignal

__all__ = ["LearnConfig", "learn", "preset_for"]


def learn(
    backbone: Backbone, references: ReferenceImages, config: LearnConfig, out: Path, restart: bool = False
) -> PromptDistribution:
    """Learn the distribution of `references` and write it to `out` (DreamDistribution, Algorithm 1).

    Goes on from `<out>.ckpt` if there is one. Interrupted and resumed equals uninterrupted, bit by bit,
    on one machine's CPU.

    Args:
        backbone: a frozen diffusion model; called with one view and no camera.
        references: N >= 1 pictures.
        out: the safetensors file to write.
        restart: forget a checkpoint.

    Raises:
        Stopped: Ctrl-C or SIGTERM; a checkpoint is kept.
        UserError: `out` cannot be written, a checkpoint of another learning, a prompt too long, or a loss
            that is not finite (the state before it is kept).
    """
    out = Path(out)
    _check_output(out)
    checkpoint = Checkpoint(out, config, references.content_hash, backbone.fingerprint)
    if restart:
        checkpoint.remove()
    state = checkpoint.load()
    with StopSignal() as stop:
        learner = Learner(backbone, encode_references(backbone, references.pixels), config)
        if state is not None:
            learner.load_state(state)
        _run(learner, checkpoint, config.steps, stop)
    distribution = _distribution(learner, backbone, references, config)
    distribution.save(out)
    checkpoint.remove()
    return distribution


def _run(learner: Learner, checkpoint: Checkpoint, steps: int, stop: StopSignal) -> None:
    with bar("learning", steps, done=learner.step) as progress:
        while learner.step < steps:
            if stop.requested:
                checkpoint.save(learner.state())
                raise Stopped(
                    f"learning stopped at step {learner.step} of {steps}, kept in {checkpoint.path}: "
                    "the same command goes on from there."
                )
            progress.advance(f"loss {_advance(learner, checkpoint):.4f}")
            if checkpoint.due(learner.step):
                checkpoint.save(learner.state())


def _advance(learner: Learner, checkpoint: Checkpoint) -> float:
    try:
        return learner.advance()
    except FloatingPointError as error:
        checkpoint.save(learner.state())
        raise UserError(
            f"the loss is not finite at step {learner.step} ({error}); {checkpoint.path} keeps the state before it. "
            "Try a smaller --lr with --restart."
        ) from error


def _check_output(out: Path) -> None:
    """Find out now, not after the work, that the result cannot be written."""
    if out.is_dir():
        raise UserError(f"{out} is a folder: give a file name such as {out / 'distribution.safetensors'}.")
    ensure_folder(out.parent)


def _distribution(
    learner: Learner, backbone: Backbone, references: ReferenceImages, config: LearnConfig
) -> PromptDistribution:
    settings = {key: value for key, value in asdict(config).items() if key not in ("covariance", "prefix", "suffix")}
    facts = {
        "backbone": backbone.name,
        "references": len(references),
        "references_sha256": references.content_hash,
        **settings,
    }
    return PromptDistribution(
        tokens=learner.tokens,
        covariance=config.covariance,
        encoder_fingerprint=backbone.fingerprint,
        prefix=config.prefix,
        suffix=config.suffix,
        metadata={key: str(value) for key, value in facts.items()},
    )
