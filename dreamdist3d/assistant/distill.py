"""Self-distillation (CAFE, section 3.3): the assistant's own answers and pictures, filtered, and trained on again.

Quadruplets (picture, request, answer, target picture) are made by the assistant itself. Each target is the candidate
that is nearest to `MIXED` S + (1 - `MIXED`) times the embedding of a picture retrieved for what was asked (equation 4).
A quadruplet is kept if its target is as like its caption (CLIP-T) and as like the picture it came from (DINO) as all
but `LOWEST` of the true pairs of a validation set are; the paper's thresholds, 0.3 and 0.6, are those of other judges.
"""

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from dreamdist3d.assistant.edit import Edit, all_asked, resolved, words_after, words_before
from dreamdist3d.assistant.grammar.dialogues import draw_turn
from dreamdist3d.assistant.intentions import Plan, Proposal, Seen, read_plan, write_plan
from dreamdist3d.assistant.model import prompt_of
from dreamdist3d.assistant.pictures import GROUP, Pictures, load_pictures, make_group, write_pictures
from dreamdist3d.assistant.proposing import Proposer
from dreamdist3d.assistant.storage import Stored, load_assistant, save_assistant
from dreamdist3d.assistant.subjects import WordSubject
from dreamdist3d.assistant.train import HELD_OUT_SEED, AssistantRecipe, draw_example, losses
from dreamdist3d.backbones import load_backbone
from dreamdist3d.errors import Stopped, UserError
from dreamdist3d.eval import MiniClip, MiniDino
from dreamdist3d.files import ensure_folder, read_json, write_atomic, write_json
from dreamdist3d.mini.loop import Stage, run_stage
from dreamdist3d.progress import bar
from dreamdist3d.stopping import StopSignal

MIXED = 0.5
LOWEST = 0.1
_VALIDATED = 40  # groups
_CHANGES = ("color", "part", "pattern", "second", "material")
_SHARE = 0.5  # of a batch that is the assistant's own


@dataclass(frozen=True)
class DistillRecipe:
    """Amounts of one round.

    Attributes:
        seed: of requests, pictures and steps.
        groups: rendered objects that requests are about, the ones of training.
        requests: asked of the assistant.
        steps, batch, lr: of the training that follows.
    """

    seed: int = 0
    groups: int = 700
    requests: int = 300
    steps: int = 200
    batch: int = 64
    lr: float = 5e-4

    def __post_init__(self) -> None:
        for name in ("groups", "requests", "steps", "batch"):
            if getattr(self, name) < 1:
                raise UserError(f"{name}={getattr(self, name)} is out of range: it must be at least 1.")


@dataclass(frozen=True)
class Made:
    """One quadruplet of the assistant's own, or why there is none."""

    group: int
    place: int
    prompt: str
    answer: str  # the assistant's, whole
    done: str = ""  # the answer that does the first proposal only: what the wanted embedding is read from
    clip_t: float = 0.0
    dino: float = 0.0
    lacks: str = ""  # why there is no picture


def distill(out: Path, recipe: DistillRecipe, weights: Path | None = None) -> Path:
    """One round in `out`, going on where an earlier call stopped; returns `out / "weights"`.

    `filter.json` counts what was made, what was kept, and why the rest was not.

    Raises:
        UserError: `out` cannot be written, or belongs to another recipe.
        Stopped: on Ctrl-C or SIGTERM; the same call resumes.
    """
    ensure_folder(out)
    if (out / "recipe.json").exists() and read_json(out / "recipe.json") != asdict(recipe):
        raise UserError(f"{out / 'recipe.json'} holds another recipe: use its settings to go on, or another --out.")
    write_json(out / "recipe.json", asdict(recipe))
    stored = load_assistant(weights)
    if not (out / "pictures" / "features.npy").exists():
        write_pictures(out / "pictures", recipe.groups, recipe.seed, stored.inputs)
    pictures = load_pictures(out / "pictures")
    if not (out / "filter.json").exists():
        _make_all(out, recipe, stored, pictures)
    made, wanted = load_kept(out)
    model = stored.model.train().requires_grad_(True)

    def keep(step: int) -> None:
        save_assistant(model, stored.inputs.name, out / "weights", half=True)

    run_stage(_stage(stored, pictures, made, wanted, recipe, keep), out, recipe.seed)
    keep(recipe.steps)
    write_json(out / "weights" / "recipe.json", {"distilled": asdict(recipe), "filter": read_json(out / "filter.json")})
    return out / "weights"


def thresholds(clip: MiniClip, dino: MiniDino, groups: int = _VALIDATED) -> dict[str, float]:
    """The `LOWEST` quantiles of CLIP-T and DINO over true pairs: renders, their captions, and their groups' others."""
    told, alike = [], []
    for index in range(groups):
        pictures, seen = make_group(2 * HELD_OUT_SEED, index)
        told.append((clip.encode(pictures) * clip.encode_text([caption_of(one) for one in seen])).sum(dim=1))
        features = dino.encode(pictures)
        alike.append((features[0] * features[1:]).sum(dim=1))
    return {"clip_t": float(torch.cat(told).quantile(LOWEST)), "dino": float(torch.cat(alike).quantile(LOWEST))}


def caption_of(seen: Seen) -> str:
    """`a striped red and white mug with a blue handle`."""
    asked = all_asked(seen, {})
    return f"{words_before(asked)} {seen.family} {words_after(asked, seen.family)}"


def verdict(made: Made, limits: dict[str, float]) -> str:
    """`kept`, or what it fails by."""
    if made.lacks:
        return made.lacks
    fails = [name for name in ("clip_t", "dino") if getattr(made, name) < limits[name]]
    return "below " + " and ".join(fails) if fails else "kept"


def load_kept(folder: Path) -> tuple[list[Made], Tensor]:
    """The quadruplets that passed, and the wanted embeddings [N, S] of their target pictures.

    Raises:
        UserError: none passed.
    """
    lines = (folder / "kept.jsonl").read_text(encoding="utf-8").splitlines()
    if not lines:
        raise UserError(f"no quadruplet of {folder} passed the filter: see filter.json, and ask for more requests.")
    return [Made(**json.loads(line)) for line in lines], torch.from_numpy(np.load(folder / "kept.npy")).float()


def _make_all(out: Path, recipe: DistillRecipe, stored: Stored, pictures: Pictures) -> None:
    """Ask all requests, filter, and write `kept.npy`, `kept.jsonl` and, last, `filter.json`."""
    maker = _Maker(recipe, stored, pictures)
    limits = thresholds(maker.clip, maker.dino)
    kept, embeddings, counts = [], [], Counter[str]()
    with StopSignal() as stop, bar("own answers", recipe.requests) as progress:
        for index in range(recipe.requests):
            if stop.requested:
                raise Stopped("self-distillation stopped while it made pictures; the same command begins them again.")
            made, embedding = maker.make(index)
            found = verdict(made, limits)
            counts[found] += 1
            if found == "kept":
                kept.append(made)
                embeddings.append(embedding)
            progress.advance(f"kept {len(kept)}")
    lines = "".join(json.dumps(vars(one)) + "\n" for one in kept)
    write_atomic(out / "kept.jsonl", lambda path: path.write_text(lines, encoding="utf-8"))
    array = torch.stack(embeddings).numpy() if embeddings else np.zeros((0, stored.inputs.wanted_width), np.float32)
    write_atomic(out / "kept.npy", lambda path: np.save(path, array))
    rounded = {name: round(value, 3) for name, value in limits.items()}
    write_json(out / "filter.json", {"requests": recipe.requests, "thresholds": rounded, "counts": dict(counts)})


class _Maker:
    """The assistant, what it is asked about, and the two judges of the filter."""

    def __init__(self, recipe: DistillRecipe, stored: Stored, pictures: Pictures) -> None:
        self.recipe, self.stored, self.pictures = recipe, stored, pictures
        self.clip, self.dino = MiniClip(), MiniDino()
        self._proposer = Proposer(load_backbone("mini"), stored.inputs, candidates=2)

    def make(self, index: int) -> tuple[Made, Tensor]:
        """Request `index`: the assistant's answer, and the embedding [S] of the picture of its first proposal."""
        rng = np.random.default_rng([self.recipe.seed, index])
        group, place = int(rng.integers(len(self.pictures))), int(rng.integers(GROUP))
        seen = self.pictures.seen[group][place]
        turn = draw_turn(seen, rng, group="clear" if rng.random() < 0.5 else "vague")
        prompt = prompt_of(turn.request, turn.past)
        made = Made(group, place, prompt, self.stored.model.answer(self.pictures.features[group, place], prompt))
        nothing = torch.zeros(self.stored.inputs.wanted_width)
        try:
            plan = read_plan(made.answer)
        except ValueError:
            return replace(made, lacks="no plan"), nothing
        changes = resolved(plan.proposals[0], seen, rng) if plan.proposals else ()
        if not changes or plan.seen is None or any(change.kind not in _CHANGES for change in changes):
            return replace(made, lacks="no change of an attribute"), nothing
        return self._pictured(replace(made, done=write_plan(Plan(plan.seen, "edit", (changes,)))), changes, index)

    def _pictured(self, made: Made, changes: Proposal, index: int) -> tuple[Made, Tensor]:
        seen = self.pictures.seen[made.group][made.place]
        target, subject = seen.after(changes), WordSubject(seen.family)
        wanted = self.stored.model.wanted(self.pictures.features[made.group, made.place], [made.prompt], [made.done])[0]
        near = MIXED * wanted + (1 - MIXED) * _retrieved(self.pictures, target, wanted)
        edit = Edit(asked={change.kind: change.value for change in changes}, noise_seed=index)
        before = make_group(self.recipe.seed, made.group)[0][made.place]
        worded = subject.worded(edit, seen)
        (best,) = self._proposer.propose(subject, [worded], [()], [target], near[None], before, before)
        picture = best.picture[None]
        clip_t = float((self.clip.encode(picture) * self.clip.encode_text([caption_of(target)])).sum())
        alike = float((self.dino.encode(picture) * self.dino.encode(before[None])).sum())
        return replace(made, clip_t=clip_t, dino=alike), self.stored.inputs(picture)[1][0]


def _retrieved(pictures: Pictures, target: Seen, wanted: Tensor) -> Tensor:
    """The embedding of another object that shows the target's family and colour, the nearest to what is wanted."""
    places = [
        (g, k)
        for g, group in enumerate(pictures.seen)
        for k, one in enumerate(group)
        if (one.family, one.color) == (target.family, target.color)
    ]
    if not places:
        return wanted
    found = torch.stack([pictures.wanted[g, k] for g, k in places])
    return found[int(F.cosine_similarity(found, wanted[None]).argmax())]


def _stage(
    stored: Stored,
    pictures: Pictures,
    made: Sequence[Made],
    wanted: Tensor,
    recipe: DistillRecipe,
    on_checkpoint: Callable[[int], None],
) -> Stage:
    """The training stage on the union of the grammar's quadruplets and the assistant's own."""
    weight = AssistantRecipe().mse_weight

    def loss(generator: torch.Generator) -> dict[str, Tensor]:
        rng = np.random.default_rng(int(torch.randint(2**31, (1,), generator=generator)))
        own = [int(rng.integers(len(made))) for _ in range(int(_SHARE * recipe.batch))]
        grammar = [draw_example(pictures, rng) for _ in range(recipe.batch - len(own))]
        features = torch.stack([pictures.features[e.group, e.place] for e in grammar])
        terms = losses(stored.model, features, grammar, pictures, weight)
        return {"loss": terms["loss"] + _own_loss(stored, pictures, [made[i] for i in own], wanted[own], weight)}

    return Stage(
        name="distilled",
        models={"assistant": stored.model},
        losses={"loss": (1.0, loss)},
        steps=recipe.steps,
        lr=recipe.lr,
        warmup=10,
        ema_decay=0.98,
        on_checkpoint=on_checkpoint,
    )


def _own_loss(stored: Stored, pictures: Pictures, made: Sequence[Made], wanted: Tensor, weight: float) -> Tensor:
    """Equation 2 on the assistant's own quadruplets: words of whole answers, and what each first proposal wanted."""
    features = torch.stack([pictures.features[one.group, one.place] for one in made]).repeat(2, 1, 1)
    answers = [one.answer for one in made] + [one.done for one in made]
    taught = [True] * len(made) + [False] * len(made)
    words, found = stored.model(features, stored.model.batch([one.prompt for one in made] * 2, answers, taught))
    return words + weight * (found[len(made) :] - wanted).square().mean()
