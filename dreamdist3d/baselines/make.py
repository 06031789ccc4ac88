"""One call for every method: from references to prompts that can be drawn from."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dreamdist3d.backbones import load_backbone
from dreamdist3d.backbones.adapted import lasting_name, write_adapted
from dreamdist3d.baselines.custom_diffusion import CustomDiffusion
from dreamdist3d.baselines.dreambooth import DreamBooth, DreamBoothLora
from dreamdist3d.baselines.each import EachLearner
from dreamdist3d.baselines.inversion import invert, with_noise
from dreamdist3d.baselines.ip_adapter import shown_source
from dreamdist3d.baselines.prior import class_pictures
from dreamdist3d.baselines.record import Record
from dreamdist3d.baselines.settings import TUNED, BaselineConfig
from dreamdist3d.baselines.tuning import Class, Tuner
from dreamdist3d.baselines.words import words_source
from dreamdist3d.errors import UserError
from dreamdist3d.prompts import Execution, PromptDistribution, PromptSource, ReferenceImages, SoftPromptEncoder
from dreamdist3d.prompts.learning.checkpoint import Checkpoint
from dreamdist3d.prompts.learning.execution import DEFAULT_EXECUTION, prepared
from dreamdist3d.prompts.learning.images import ReferenceLatents, encode_references
from dreamdist3d.prompts.learning.loop import Trainee, run
from dreamdist3d.prompts.source import MODEL
from dreamdist3d.stopping import StopSignal

if TYPE_CHECKING:
    from dreamdist3d.backbones import Backbone

_TUNERS: dict[str, type[DreamBooth] | type[CustomDiffusion]] = {
    "dreambooth": DreamBooth,
    "dreambooth-lora": DreamBoothLora,
    "custom-diffusion": CustomDiffusion,
}


@dataclass(frozen=True)
class Made:
    """What a baseline leaves.

    Attributes:
        prompts: the file that draws are taken from.
        backbone: what `load_backbone` takes: the one that was given, or the folder of the changed one.
    """

    prompts: Path
    backbone: str


def make_baseline(
    backbone: "Backbone",
    references: ReferenceImages | None,
    config: BaselineConfig,
    folder: Path,
    restart: bool = False,
    execution: Execution = DEFAULT_EXECUTION,
) -> Made:
    """Make a baseline in `folder`; a finished one is left as it is, an unfinished one goes on.

    Interrupted and resumed equals uninterrupted, bit by bit, on one machine's CPU.

    Args:
        backbone: a frozen model. Methods that change the model (`TUNED`) change this one: load it again for other uses.
        references: N >= 1 pictures; None for plain words, which need none.
        folder: for everything.
        restart: forget what `folder` holds of a baseline.
        execution: how the steps are computed.

    Raises:
        Stopped: Ctrl-C or SIGTERM; what was done is kept.
        UserError: no references, a folder of another baseline or that cannot be written, words too long, a loss that is
            not finite (the state before it is kept).
    """
    folder = Path(folder)
    record = Record(folder, config, references, backbone, restart)
    changed = folder / "backbone"
    made = Made(folder / "prompts.safetensors", str(changed) if config.method in TUNED else lasting_name(backbone))
    if record.is_done and made.prompts.is_file():
        return made
    facts = {"backbone": lasting_name(backbone), "method": config.method}
    if config.method == "words":
        source: PromptSource = words_source(backbone, config.words, facts)
    elif references is None:
        raise UserError(f"{config.method} learns from pictures: name the folder of references.")
    elif config.method == "ip-adapter":
        apprentice = Path(config.apprentice) if config.apprentice else None
        source = shown_source(backbone, references, config.words, apprentice, facts)
    elif config.method == "textual-inversion":
        source = _inversion(backbone, references, config, folder, execution)
    elif config.method == "textual-inversion-noise":
        source = with_noise(_inversion(backbone, references, config, folder, execution), config)
    elif config.method == "textual-inversion-each":
        source = _each(backbone, references, config, folder, execution, facts)
    else:
        source = _tuned(backbone, references, config, folder, execution, facts)
    source.save(made.prompts)
    record.finish()
    (folder / "learning.ckpt").unlink(missing_ok=True)
    return made


def _inversion(
    backbone: "Backbone", references: ReferenceImages, config: BaselineConfig, folder: Path, execution: Execution
) -> PromptDistribution:
    path = folder / "inversion.safetensors"
    return PromptDistribution.load(path) if path.is_file() else invert(backbone, references, config, path, execution)


def _each(
    backbone: "Backbone",
    references: ReferenceImages,
    config: BaselineConfig,
    folder: Path,
    execution: Execution,
    facts: dict[str, str],
) -> PromptSource:
    with prepared(backbone, execution):
        learner = EachLearner(backbone, encode_references(backbone, references.pixels), config)
        _learn(learner, backbone, references, config, folder)
    return learner.source(facts)


def _tuned(
    backbone: "Backbone",
    references: ReferenceImages,
    config: BaselineConfig,
    folder: Path,
    execution: Execution,
    facts: dict[str, str],
) -> PromptSource:
    known = _class(backbone, config, folder)
    latents = encode_references(backbone, references.pixels)
    chosen = _TUNERS[config.method](backbone, config)
    with prepared(backbone, execution):
        tuner = Tuner(backbone, chosen.parameters, chosen.prompt, latents, known, config)
        _learn(tuner, backbone, references, config, folder)
    write_adapted(folder / "backbone", backbone, chosen.kind, chosen.tensors())
    # Loaded as anybody will load it: what was written is whole, and this is its name.
    changed = load_backbone(str(folder / "backbone"), str(backbone.device))
    return chosen.source({**facts, "backbone": changed.source, MODEL: changed.identity})


def _class(backbone: "Backbone", config: BaselineConfig, folder: Path) -> Class | None:
    if not config.prior:
        return None
    words = f"a {config.words[0]}"
    pixels = class_pictures(backbone, words, config.prior, config.seed, folder / "class")
    encoder = SoftPromptEncoder(backbone.tokenizer, backbone.text_encoder)
    latents: ReferenceLatents = encode_references(backbone, pixels)
    return Class(encoder.encode_text([words]).hidden[0].detach(), latents)


def _learn(
    trainee: Trainee, backbone: "Backbone", references: ReferenceImages, config: BaselineConfig, folder: Path
) -> None:
    checkpoint = Checkpoint(folder / "learning", asdict(config), references.content_hash, backbone)
    if (state := checkpoint.load()) is not None:
        trainee.load_state(state)
    with StopSignal() as stop:
        run(trainee, checkpoint, config.steps, stop)
    checkpoint.save(trainee.state())  # what is left to write takes time too
