"""Learning a prompt distribution from reference images: from pictures to a file, stoppable at any moment."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from dreamdist3d.backbones import Backbone
from dreamdist3d.errors import UserError
from dreamdist3d.files import ensure_folder
from dreamdist3d.prompts.distribution import PromptDistribution
from dreamdist3d.prompts.learning.checkpoint import Checkpoint
from dreamdist3d.prompts.learning.coupling import LIMIT
from dreamdist3d.prompts.learning.execution import DEFAULT_EXECUTION, Execution, prepared
from dreamdist3d.prompts.learning.images import CONTENT_ORDER, ReferenceImages, encode_references
from dreamdist3d.prompts.learning.learner import Learner
from dreamdist3d.prompts.learning.loop import run
from dreamdist3d.prompts.learning.processes import Processes
from dreamdist3d.prompts.learning.settings import LearnConfig, preset_for
from dreamdist3d.stopping import StopSignal

__all__ = ["LearnConfig", "config_from", "learn", "preset_for"]


def learn(
    backbone: Backbone,
    references: ReferenceImages,
    config: LearnConfig,
    out: Path,
    restart: bool = False,
    execution: Execution = DEFAULT_EXECUTION,
    start: PromptDistribution | None = None,
) -> PromptDistribution:
    """Learn the distribution of `references` and write it to `out`.

    Goes on from `<out>.ckpt` if there is one. Interrupted and resumed equals uninterrupted, bit by bit,
    on one machine's CPU. Processes that `accelerate launch` started learn it together, and rank 0 writes.

    Args:
        backbone: a frozen diffusion model; called with one view and no camera.
        references: N >= 1 pictures.
        out: the safetensors file to write.
        restart: forget a checkpoint.
        execution: how the steps are computed; a checkpoint may go on with another.
        start: begin from its tokens instead of random ones; its K and M must be those of `config` (`config_from`).

    Raises:
        Stopped: Ctrl-C or SIGTERM; a checkpoint is kept.
        UserError: `out` cannot be written, a checkpoint of another learning, a prompt too long, a batch smaller
            than the number of processes, a start of another text encoder or size, or a loss that is not finite (the
            state before it is kept).
    """
    out = Path(out)
    processes = Processes.joined(backbone.device)
    if start is not None:
        references = _ready(start, backbone, config, references)
    begun = "" if start is None else start.content_hash
    checkpoint = Checkpoint(out, asdict(config), references.content_hash, backbone, begun)
    state = processes.agree(lambda: _begin(out, checkpoint, restart))
    with StopSignal() as stop, prepared(backbone, execution):
        latents = encode_references(backbone, references.pixels)
        learner = Learner(backbone, latents, config, processes, None if start is None else start.tokens)
        if state is not None:
            learner.load_state(state)
        run(learner, checkpoint, config.steps, stop, processes)
    distribution = _distribution(learner, backbone, references, config, begun)
    processes.agree(lambda: _finish(distribution, out, checkpoint))
    return distribution


def config_from(start: PromptDistribution, config: LearnConfig) -> LearnConfig:
    """`config` with the number of prompts and tokens, and the words around them, of what a learning begins from."""
    prompts, tokens = start.tokens.shape[:2]
    return replace(config, prompts=prompts, tokens=tokens, prefix=start.prefix, suffix=start.suffix)


def _ready(
    start: PromptDistribution, backbone: Backbone, config: LearnConfig, references: ReferenceImages
) -> ReferenceImages:
    """The references in the order in which prompts were made for them, if `start` is of an apprentice."""
    start.check_encoder(backbone)
    if start.tokens.shape[:2] != (config.prompts, config.tokens):
        raise UserError(
            f"the start has {start.tokens.shape[0]} prompts of {start.tokens.shape[1]} tokens, not {config.prompts} of "
            f"{config.tokens}: leave --prompts and --tokens out."
        )
    return references.in_content_order() if start.metadata.get("order") == CONTENT_ORDER else references


def _begin(out: Path, checkpoint: Checkpoint, restart: bool) -> dict[str, Any] | None:
    """The state to go on from; None: start anew."""
    _check_output(out)
    if restart:
        checkpoint.remove()
    return checkpoint.load()


def _finish(distribution: PromptDistribution, out: Path, checkpoint: Checkpoint) -> None:
    distribution.save(out)
    checkpoint.remove()


def _check_output(out: Path) -> None:
    """Find out now, not after the work, that the result cannot be written."""
    if out.is_dir():
        raise UserError(f"{out} is a folder: give a file name such as {out / 'distribution.safetensors'}.")
    ensure_folder(out.parent)


def _distribution(
    learner: Learner, backbone: Backbone, references: ReferenceImages, config: LearnConfig, begun: str
) -> PromptDistribution:
    settings = {key: value for key, value in asdict(config).items() if key not in ("covariance", "prefix", "suffix")}
    facts = {
        "backbone": backbone.name,
        "references": len(references),
        "references_sha256": references.content_hash,
        **settings,
        **({"begun_from_sha256": begun} if begun else {}),
    }
    return PromptDistribution(
        tokens=learner.tokens,
        covariance=config.covariance,
        encoder_fingerprint=backbone.fingerprint,
        prefix=config.prefix,
        suffix=config.suffix,
        metadata={key: str(value) for key, value in facts.items()},
        limit=LIMIT if config.objective == "coupled" else None,
    )
