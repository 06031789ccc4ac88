"""Training an apprentice: first on words, which is cheap, then through the frozen UNet."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file

from dreamdist3d.apprentice.bank import Bank
from dreamdist3d.apprentice.details import EDITS, DetailLessons, Details, details_for
from dreamdist3d.apprentice.network import TOKENS, Apprentice, ApprenticeConfig
from dreamdist3d.apprentice.objective import Example, Lessons
from dreamdist3d.apprentice.storage import Trained
from dreamdist3d.backbones import Backbone, install_reference_attention
from dreamdist3d.backbones.references import FILE, hash_of
from dreamdist3d.errors import UserError
from dreamdist3d.files import ensure_folder, read_json, write_atomic, write_json
from dreamdist3d.mini.loop import Loss, Stage, run_stage
from dreamdist3d.prompts.encoder import SoftPromptEncoder
from dreamdist3d.prompts.learning.execution import DEFAULT_EXECUTION, prepared


@dataclass(frozen=True)
class TrainSettings:
    """How long, and with what shares of the steps.

    Attributes:
        words_steps: on captions of as many words as a prompt has tokens, without the UNet.
        steps: through the UNet.
        details_steps: of the UNet's reference attention, on clusters of one instance.
        edits, experts: shares of those steps; the rest are pictures of the clusters themselves.
    """

    words_steps: int = 1500
    steps: int = 700
    details_steps: int = 300
    lr: float = 1e-3
    seed: int = 0
    width: int = 160
    tokens: int = TOKENS
    edits: float = 0.2
    experts: float = 0.3


def train(
    backbone: Backbone, bank: Bank, folder: Path, settings: TrainSettings, examples: Sequence[Example] = ()
) -> Trained:
    """Train in `folder`, going on from its checkpoints.

    Raises:
        Stopped: Ctrl-C or SIGTERM; a checkpoint is kept.
        UserError: clusters or checkpoints of something else, or a loss that is not finite.
    """
    if bank.mined.fingerprint != backbone.fingerprint:
        raise UserError(f"{bank.folder} was mined for {bank.mined.backbone}, not for {backbone.name}: mine it again.")
    ensure_folder(folder)
    _check_settings(folder / "settings.json", settings)
    with torch.random.fork_rng():
        torch.manual_seed(settings.seed)
        apprentice = Apprentice(config_for(backbone, bank, settings)).to(backbone.device)
    lessons = Lessons(apprentice, backbone, bank, examples)
    with prepared(backbone, DEFAULT_EXECUTION):
        for stage in _stages(apprentice, lessons, bank, settings, bool(examples)):
            run_stage(stage, folder, settings.seed, checkpoint_seconds=60)
        details, seen_by = _train_details(apprentice, backbone, bank, folder, settings)
    facts = {"backbone": backbone.name, "clusters": str(len(bank.split("train"))), "experts": str(len(examples))}
    facts |= {name: str(value) for name, value in asdict(settings).items()}
    return Trained(apprentice, backbone.fingerprint, bank.mined.inputs, {}, facts, details, seen_by)


def _train_details(
    apprentice: Apprentice, backbone: Backbone, bank: Bank, folder: Path, settings: TrainSettings
) -> tuple[Details | None, str]:
    """The second stage, which leaves the UNet's part in a file of its own; the backbone is as it was afterwards."""
    apprentice.eval().requires_grad_(False)
    before = dict(backbone.unet.attn_processors)
    with torch.random.fork_rng():
        torch.manual_seed(settings.seed)
        details = details_for(apprentice, backbone)
        layers = install_reference_attention(backbone.unet, backbone.text_encoder.config.max_position_embeddings)
    try:
        lessons = DetailLessons(apprentice, details, backbone, bank)
        if not settings.details_steps or not lessons.has_instances:
            return None, ""
        layers.requires_grad_(True)
        losses = {"pictures": (1 - EDITS, lessons.pictures), "edits": (EDITS, lessons.edits)}
        if not bank.has_edits:
            losses.pop("edits")
        models = {"details": details, "layers": layers}
        stage = Stage("details", models, losses, settings.details_steps, settings.lr, ema_decay=0.99, captured=False)
        run_stage(stage, folder, settings.seed, checkpoint_seconds=60)
    finally:
        backbone.unet.set_attn_processor(before)
    weights = {name: value.detach().half().cpu().contiguous() for name, value in layers.state_dict().items()}
    write_atomic(folder.parent / FILE, lambda path: save_file(weights, path))
    return details.eval().requires_grad_(False), hash_of(weights)


def config_for(backbone: Backbone, bank: Bank, settings: TrainSettings) -> ApprenticeConfig:
    """The sizes that follow from what the network sees and what its tokens are for."""
    vectors, _ = SoftPromptEncoder(backbone.tokenizer, backbone.text_encoder).vocabulary()
    patches, features = bank.input_shape
    sizes = {"tokens": settings.tokens, "width": settings.width, "heads": max(4, settings.width // 64)}
    return ApprenticeConfig(patches, features, vectors.shape[1], float(vectors.std()), **sizes)


def _stages(
    apprentice: Apprentice, lessons: Lessons, bank: Bank, settings: TrainSettings, experts: bool
) -> list[Stage]:
    def stage(name: str, losses: dict[str, tuple[float, Loss]], steps: int, lr: float) -> Stage:
        return Stage(name, {"apprentice": apprentice}, losses, steps, lr, ema_decay=0.998, captured=False)

    edits = settings.edits if bank.has_edits else 0.0
    taught = settings.experts if experts else 0.0
    shares: dict[str, tuple[float, Loss]] = {"pictures": (1 - edits - taught, lessons.pictures)}
    shares |= {"edits": (edits, lessons.edits)} if edits else {}
    shares |= {"experts": (taught, lessons.experts)} if taught else {}
    stages = [stage("pictures", shares, settings.steps, settings.lr / 2)]
    if settings.words_steps and any(one.words for one in bank.pictures):
        stages.insert(0, stage("words", {"words": (1.0, lessons.words)}, settings.words_steps, settings.lr))
    return stages


def _check_settings(path: Path, settings: TrainSettings) -> None:
    now = asdict(settings)
    if path.is_file() and (kept := read_json(path)) != now:
        differing = ", ".join(name for name, value in now.items() if kept.get(name) != value)
        raise UserError(f"{path.parent} is another training ({differing} differ): choose another folder.")
    write_json(path, now)
