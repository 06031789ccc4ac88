"""`dreamdist3d assistant generator`: the UNet learns to look at S and at a picture's patches (CAFE, equation 3)."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dreamdist3d.apprentice import load_apprentice, packaged_apprentice
from dreamdist3d.apprentice.objective import on_cpu
from dreamdist3d.assistant.generator.bank import Bank, Encoders, Pair, write_bank
from dreamdist3d.assistant.generator.conditions import TOKENS, Conditions
from dreamdist3d.assistant.generator.patches import MiniPatches
from dreamdist3d.assistant.generator.scenes import scenes
from dreamdist3d.assistant.generator.storage import save_generator
from dreamdist3d.assistant.quadruplets import Quadruplet
from dreamdist3d.assistant.reading import read_file
from dreamdist3d.backbones import Backbone, add_noise, diffusion_target, install_reference_attention
from dreamdist3d.backbones.references import FILE
from dreamdist3d.errors import UserError
from dreamdist3d.files import ensure_folder, read_json, write_json
from dreamdist3d.mini.loop import Stage, run_stage
from dreamdist3d.prompts import SoftPromptEncoder
from dreamdist3d.prompts.learning.execution import DEFAULT_EXECUTION, prepared

STRAYED = 0.45  # deviation of what a language model's S has wrong: its mean squared error on held-out objects is 0.2
_STRAYING = 0.5  # share of the samples whose S is off by that


@dataclass(frozen=True)
class GeneratorRecipe:
    """Amounts of the training; the defaults made the shipped weights.

    Attributes:
        seed: of pictures, initial weights and every step.
        groups: of the miniature world: objects, each with five others that differ in one attribute.
        steps, batch, lr: of the training.
        dropped: probability that a branch is left out, each by itself (section 4.1).
    """

    seed: int = 0
    groups: int = 700
    steps: int = 1200
    batch: int = 32
    lr: float = 1.5e-3
    dropped: float = 0.1

    def __post_init__(self) -> None:
        for name in ("groups", "steps", "batch"):
            if getattr(self, name) < 1:
                raise UserError(f"{name}={getattr(self, name)} is out of range: it must be at least 1.")
        if not 0 <= self.dropped < 1:
            raise UserError(f"dropped={self.dropped} is out of range: it must be at least 0 and below 1.")


def train_generator(
    folder: Path, encoders: Encoders, recipe: GeneratorRecipe, quadruplets: Sequence[Quadruplet] = ()
) -> Path:
    """Train in `folder`, going on from what is there; returns `folder / "weights"`. The backbone is as it was.

    Args:
        encoders: the backbone and the frozen encoders.
        quadruplets: pictures to learn from; none: the miniature world.

    Raises:
        UserError: the folder belongs to another recipe.
        Stopped: on Ctrl-C or SIGTERM; the same call resumes.
    """
    backbone = encoders.backbone
    ensure_folder(folder)
    _check_recipe(folder / "recipe.json", recipe, quadruplets, encoders)
    if not (folder / "pairs" / "pairs.jsonl").exists():
        found = pairs_in(quadruplets, backbone.image_size) if quadruplets else scenes(recipe.groups, recipe.seed)
        write_bank(folder / "pairs", found, len(quadruplets) or recipe.groups, encoders)
    bank = Bank(folder / "pairs")
    before = dict(backbone.unet.attn_processors)
    try:
        with torch.random.fork_rng():
            torch.manual_seed(recipe.seed)
            conditions, layers = begun(encoders)
        models = {"conditions": conditions.requires_grad_(True), "layers": layers.requires_grad_(True)}

        def keep(step: int) -> None:
            names = encoders.patches.name, encoders.inputs.name
            save_generator(folder / "weights", conditions, layers, *names, backbone)

        with prepared(backbone, DEFAULT_EXECUTION):
            run_stage(_stage(models, bank, encoders, recipe, keep), folder, recipe.seed, checkpoint_seconds=60)
        keep(recipe.steps)
        write_json(folder / "weights" / "generator.json", asdict(recipe))
    finally:
        backbone.unet.set_attn_processor(before)
    return folder / "weights"


def begun(encoders: Encoders) -> tuple[Conditions, nn.ModuleList]:
    """A new generator, installed; in the miniature its second branch begins as the packaged apprentice's."""
    backbone = encoders.backbone
    sizes = encoders.inputs.wanted_width, encoders.patches.width, backbone.unet.config.cross_attention_dim
    conditions = Conditions(*sizes).to(backbone.device)
    words = backbone.text_encoder.config.max_position_embeddings
    layers = install_reference_attention(backbone.unet, words, [TOKENS])
    if isinstance(encoders.patches, MiniPatches):
        _begin_as_apprentice(conditions, layers, backbone)
    return conditions, layers


def _begin_as_apprentice(conditions: Conditions, layers: nn.ModuleList, backbone: Backbone) -> None:
    from safetensors.torch import load_file

    from dreamdist3d.backbones.find import find

    trained = load_apprentice(packaged_apprentice(backbone))
    if trained.details is None:
        return
    conditions.details.load_state_dict(trained.details.state_dict())
    for name, value in load_file(find(backbone.name).path / FILE).items():
        layers.get_parameter(name.replace("_ip.0", "_ip.1")).data.copy_(value)


def _stage(
    models: dict[str, nn.Module],
    bank: Bank,
    encoders: Encoders,
    recipe: GeneratorRecipe,
    on_checkpoint: Callable[[int], None],
) -> Stage:
    lesson = PairLesson(models["conditions"], bank, encoders.backbone, recipe)
    return Stage(
        name="generator",
        models=models,
        losses={"loss": (1.0, lesson)},
        steps=recipe.steps,
        lr=recipe.lr,
        warmup=min(50, recipe.steps // 4 + 1),
        ema_decay=0.99,
        captured=False,
        on_checkpoint=on_checkpoint,
    )


class PairLesson:
    """Denoising the picture wanted, shown the one given; a function of a generator seeded for its step.

    Half of the S are off by what a language model's are. Noise levels are drawn towards the high ones, at which
    colours and shapes are decided: t = T sqrt(u).
    """

    def __init__(self, conditions: nn.Module, bank: Bank, backbone: Backbone, recipe: GeneratorRecipe) -> None:
        self._conditions, self._bank, self._backbone, self._recipe = conditions, bank, backbone, recipe
        self._encoder = SoftPromptEncoder(backbone.tokenizer, backbone.text_encoder)

    def __call__(self, generator: torch.Generator) -> dict[str, Tensor]:
        """{"loss": equation 3}."""
        drawing, backbone, count = on_cpu(generator), self._backbone, self._recipe.batch
        pairs = [self._bank.pairs[i] for i in torch.randint(len(self._bank.pairs), (count,), generator=drawing)]
        texts = [pair.texts[int(torch.randint(len(pair.texts), (1,), generator=drawing))] for pair in pairs]
        targets = [pair.target for pair in pairs]
        wanted = self._bank.take("wanted", targets)
        strayed = (torch.rand(count, 1, generator=drawing) < _STRAYING) * STRAYED
        wanted = wanted + strayed * torch.randn(wanted.shape, generator=drawing)
        kept = torch.rand(count, 2, generator=drawing) >= self._recipe.dropped
        patches = self._bank.take("patches", [pair.source for pair in pairs])
        latents = self._bank.take("latents", targets).to(backbone.device)
        last = len(backbone.alphas_cumprod)
        times = (last * torch.rand(count, generator=drawing).sqrt()).long().clamp(max=last - 1).to(backbone.device)
        noise = torch.randn(latents.shape, generator=drawing).to(latents)
        with torch.no_grad():
            text = self._encoder.encode_text(texts).hidden.float()
        shown = self._conditions(*(value.to(backbone.device) for value in (wanted, patches, kept)))
        answer = backbone.predict(add_noise(backbone, latents, noise, times), times, torch.cat([text, shown], dim=1))
        return {"loss": F.mse_loss(answer.float(), diffusion_target(backbone, latents, noise, times))}


def pairs_in(quadruplets: Sequence[Quadruplet], size: int) -> Iterator[tuple[Tensor, list[Pair]]]:
    """The pictures [2, 3, size, size] of each quadruplet, and the pair of them."""
    for one in quadruplets:
        pictures = torch.stack([read_file(path, size) for path in (one.picture, one.target)])
        yield pictures, [Pair(0, 1, (one.text,))]


def _check_recipe(path: Path, recipe: GeneratorRecipe, quadruplets: Sequence[Quadruplet], encoders: Encoders) -> None:
    names = {"backbone": encoders.backbone.name, "clip": encoders.inputs.name, "patches": encoders.patches.name}
    asked = asdict(recipe) | names | {"quadruplets": len(quadruplets)}
    if path.exists() and read_json(path) != asked:
        raise UserError(f"{path} holds another recipe: use its settings to go on, or another --out.")
    write_json(path, asked)
