"""`dreamdist3d assistant train`: from the miniature world's grammar to the shipped assistant (CAFE, section 3)."""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from dreamdist3d.assistant.grammar.dialogues import VAGUE, Turn, draw_turn, kind_of, turn_of
from dreamdist3d.assistant.inputs import mini_inputs
from dreamdist3d.assistant.intentions import Plan, Proposal, Seen, write_plan
from dreamdist3d.assistant.model import AssistantModel, build_model, prompt_of
from dreamdist3d.assistant.pictures import GROUP, Pictures, changes_between, load_pictures, write_pictures
from dreamdist3d.assistant.storage import save_assistant
from dreamdist3d.assistant.tokenizer import build_tokenizer
from dreamdist3d.errors import UserError
from dreamdist3d.files import ensure_folder, read_json, write_json
from dreamdist3d.mini.loop import Stage, run_stage

HELD_OUT_SEED = 1_000_003  # added to the seed of pictures that are never trained on
_PAIRED = 0.45  # share of requests for one of a group's other pictures
_ELABORATED = 0.15  # share of vague requests with one proposal, of which only the wanted embedding is learned
_FEATURE_NOISE = 0.15


@dataclass(frozen=True)
class AssistantRecipe:
    """Amounts of the training; the defaults made the shipped weights.

    Attributes:
        seed: of pictures, dialogues, initial weights and every step.
        groups: objects, each rendered with three variants.
        steps, batch: of the language model and the layers around it.
        mse_weight: lambda of equation 2.
    """

    seed: int = 0
    groups: int = 700
    steps: int = 1000
    batch: int = 64
    lr: float = 2e-3
    mse_weight: float = 0.5

    def __post_init__(self) -> None:
        for name in ("groups", "steps", "batch"):
            if getattr(self, name) < 1:
                raise UserError(f"{name}={getattr(self, name)} is out of range: it must be at least 1.")


@dataclass(frozen=True)
class Example:
    """One quadruplet: a picture (group and place), a request, an answer, and the place of the picture wanted."""

    group: int
    place: int
    turn: Turn
    wanted: int | None = None  # place in the group; None: no such picture was rendered
    taught: bool = True  # whether its words are learned, or only the wanted embedding


def train(out: Path, recipe: AssistantRecipe) -> Path:
    """Run the recipe in `out`, going on where an earlier call stopped; returns `out / "weights"`.

    Raises:
        UserError: `out` cannot be written, or belongs to another recipe.
        Stopped: on Ctrl-C or SIGTERM; the same call resumes.
    """
    ensure_folder(out)
    _check_recipe(out / "recipe.json", recipe)
    inputs, started = mini_inputs(), time.monotonic()
    if not (out / "pictures" / "features.npy").exists():
        write_pictures(out / "pictures", recipe.groups, recipe.seed, inputs)
    pictures = load_pictures(out / "pictures")
    with torch.random.fork_rng():
        torch.manual_seed(recipe.seed)
        model = build_model(build_tokenizer(), inputs.width, inputs.wanted_width)
    weights = out / "weights"

    def keep(step: int) -> None:
        save_assistant(model, inputs.name, weights, half=True)

    run_stage(language_stage(model, pictures, recipe, keep), out, recipe.seed)
    keep(recipe.steps)
    write_json(weights / "recipe.json", asdict(recipe) | {"last_sitting_seconds": round(time.monotonic() - started)})
    return weights


def language_stage(
    model: AssistantModel, pictures: Pictures, recipe: AssistantRecipe, on_checkpoint: Callable[[int], None]
) -> Stage:
    """Language modelling of answers plus lambda times the mean squared error of the wanted embedding (equation 2)."""

    def loss(generator: torch.Generator) -> dict[str, Tensor]:
        rng = np.random.default_rng(int(torch.randint(2**31, (1,), generator=generator)))
        examples = [draw_example(pictures, rng) for _ in range(recipe.batch)]
        features = torch.stack([pictures.features[e.group, e.place] for e in examples])
        features = features + _FEATURE_NOISE * torch.randn(features.shape, generator=generator)
        return losses(model, features, examples, pictures, recipe.mse_weight)

    return Stage(
        name="assistant",
        models={"assistant": model},
        losses={"loss": (1.0, loss)},
        steps=recipe.steps,
        lr=recipe.lr,
        warmup=min(60, recipe.steps // 4 + 1),
        ema_decay=0.99,
        on_checkpoint=on_checkpoint,
    )


def losses(
    model: AssistantModel, features: Tensor, examples: list[Example], pictures: Pictures, mse_weight: float
) -> dict[str, Tensor]:
    """The terms of equation 2 for examples whose pictures have these features [B, P, F]."""
    batch = model.batch(
        [prompt_of(e.turn.request, e.turn.past) for e in examples],
        [write_plan(e.turn.plan) for e in examples],
        [e.taught for e in examples],
    )
    words, wanted = model(features, batch)
    rows = [i for i, e in enumerate(examples) if e.wanted is not None]
    mse = words.new_zeros(())
    if rows:
        targets = torch.stack([pictures.wanted[examples[i].group, examples[i].wanted] for i in rows])
        mse = (wanted[rows] - targets).square().mean()
    return {"loss": words + mse_weight * mse, "words": words, "wanted": mse}


def draw_example(pictures: Pictures, rng: np.random.Generator) -> Example:
    """A random quadruplet of the training split."""
    group, place = int(rng.integers(len(pictures))), int(rng.integers(GROUP))
    seen = pictures.seen[group][place]
    if rng.random() < _PAIRED:
        other = int((place + rng.integers(1, GROUP)) % GROUP)
        changes = changes_between(seen, pictures.seen[group][other])
        kind = kind_of(changes)
        turn = turn_of(kind, seen, rng, changes=changes) if kind and rng.random() > _ELABORATED else None
        if turn is not None:
            return Example(group, place, turn, other)
        if changes:
            return Example(group, place, _elaborated(seen, changes, rng), other, taught=False)
    turn = draw_turn(seen, rng)
    stays = turn.plan.act in ("answer", "refuse")
    return Example(group, place, turn, place if stays else None)


def _elaborated(seen: Seen, changes: Proposal, rng: np.random.Generator) -> Turn:
    """A vague request answered by one proposal: how the wanted embedding of each of several is asked for."""
    while (wish := turn_of(str(rng.choice(VAGUE)), seen, rng)) is None:
        pass
    return Turn(wish.kind, wish.request, Plan(seen, "edit", (changes,)), wish.past, seen.family)


def _check_recipe(path: Path, recipe: AssistantRecipe) -> None:
    if path.exists() and read_json(path) != asdict(recipe):
        raise UserError(f"{path} holds another recipe: use its settings to go on, or another --out.")
    write_json(path, asdict(recipe))
