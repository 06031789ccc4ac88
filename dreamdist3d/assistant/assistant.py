"""The assistant as a class: a subject, a history, and an answer to each sentence."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dreamdist3d.assistant.answer import Answer
from dreamdist3d.assistant.edit import Edit, resolved
from dreamdist3d.assistant.intentions import (
    NUMBERS,
    SEE,
    Change,
    Plan,
    Seen,
    read_plan,
    write_changes,
    write_plan,
    write_seen,
)
from dreamdist3d.assistant.lead import (
    FOLLOWING,
    NOT_UNDERSTOOD,
    is_guess,
    left_out,
    noted,
    settled,
    true_answer,
    true_lead,
)
from dreamdist3d.assistant.model import prompt_of
from dreamdist3d.assistant.proposing import CANDIDATES, STEPS, Proposal, Proposer
from dreamdist3d.assistant.storage import Stored, load_assistant
from dreamdist3d.assistant.subjects import DistributionSubject, Subject, WordSubject
from dreamdist3d.assistant.tokenizer import cleaned, unknown_words
from dreamdist3d.assistant.truth import CLEARLY, color_shares, main_color
from dreamdist3d.backbones import Backbone, load_backbone
from dreamdist3d.errors import UserError, clipped
from dreamdist3d.prompts import PromptSource
from dreamdist3d.prompts.formats.opening import open_distributions
from dreamdist3d.prompts.learning.images import read_picture

_NEXT_REQUEST = 1009  # between the seeds of a request and of the next one, for what is drawn
_DRAWS = 3  # shown where other draws are asked for
_MEASURED = ("color", "part", "pattern", "second", "material", "shape", "background")


@dataclass(frozen=True, eq=False)
class _State:
    """Where a dialogue stands: the edit so far, and the picture that the next request is about."""

    edit: Edit
    picture: Tensor
    base: Seen  # what the subject shows without any edit
    origin: Tensor | None = None  # the picture given, if one was


class Assistant:
    """Answers requests about pictures or a distribution, one after the other.

    Args:
        pictures: [N, 3, S, S] in [0, 1] of one thing each; or None with a `source`.
        source: a prompt distribution.
        paths: its files, for the commands that lift proposals.
        backbone: that makes the pictures; None for the packaged miniature.
        stored: the assistant's model; None for the packaged one.
        steps, candidates: of sampling (`Proposer`).
        seed: of the first draws.

    Raises:
        UserError: neither or both of pictures and source, or a distribution of another text encoder.
    """

    def __init__(
        self,
        pictures: Tensor | None = None,
        source: PromptSource | None = None,
        paths: Sequence[Path] = (),
        backbone: Backbone | None = None,
        stored: Stored | None = None,
        steps: int = STEPS,
        candidates: int = CANDIDATES,
        seed: int = 0,
    ) -> None:
        if (pictures is None) == (source is None):
            raise UserError("an assistant is about pictures or about a distribution: give one of the two.")
        self._stored = stored or load_assistant()
        self._proposer = Proposer(backbone or load_backbone("mini"), self._stored.inputs, steps, candidates)
        self.history: list[Answer] = []
        self.pictures, self.seed = pictures, seed
        self._undone: list[_State] = []
        if source is not None:
            source.check_model(self._proposer.backbone)
            self.subject: Subject = DistributionSubject(source, paths)
            edit = Edit(draw_seed=seed, noise_seed=seed)
            picture = self._proposer.sample(self.subject, [edit])[0]
            self._state = _State(edit, picture, self._seen(picture))
        else:
            self._state = self._of_picture(0)

    @classmethod
    def of_pictures(cls, paths: Sequence[Path], **options: Any) -> "Assistant":
        """About picture files.

        Raises:
            UserError: a file that is missing or no picture.
        """
        backbone = options.pop("backbone", None) or load_backbone("mini")
        found = [_read(path, backbone.image_size) for path in paths]
        return cls(torch.stack(found), backbone=backbone, **options)

    @classmethod
    def of_distribution(cls, paths: Sequence[Path], **options: Any) -> "Assistant":
        """About a distribution file, or the blend of several."""
        return cls(source=open_distributions(paths), paths=paths, **options)

    @property
    def picture(self) -> Tensor:
        """[3, S, S] in [0, 1]: what the next request is about."""
        return self._state.picture

    def ask(self, request: str) -> Answer:
        """Answer one request; what it changes is where the next one begins.

        Raises:
            UserError: an empty request.
        """
        started = time.monotonic()
        text = cleaned(request)
        if not text:
            raise UserError("the request is empty: say what you would like to see.")
        answer = self._answered(request, text)
        answer = replace(answer, seconds=time.monotonic() - started)
        self.history.append(answer)
        return answer

    def read(self, request: str, past: str | None = None) -> Plan:
        """What the language model makes of a request about the picture here, before anything is sampled.

        What the picture shows is known by now, and the model's answer begins with it.

        Args:
            past: the request before and what was done, as `prompt_of` takes it; None: the history's, where the request
                seems to go on from it.

        Raises:
            ValueError: it makes nothing of it.
        """
        features = self._stored.inputs(self._state.picture[None])[0][0]
        text, seen = cleaned(request), self._now()
        if past is None:
            past = self._past() if set(text.split()) & set(FOLLOWING) else ""
        prompt = prompt_of(text, past)
        plan = read_plan(self._stored.model.answer(features, prompt, f"{SEE} {write_seen(seen)}"))
        return settled(plan, seen, text)

    def _answered(self, request: str, text: str) -> Answer:
        tokenizer = self._stored.model.tokenizer
        unknown = unknown_words(tokenizer, text)
        features = self._stored.inputs(self._state.picture[None])[0][0]
        seen = self._now()
        try:
            plan = self.read(text)
        except ValueError:
            return Answer(request, "refuse", noted(NOT_UNDERSTOOD, unknown, tokenizer), [], seen, unknown)
        if unknown and (plan.act == "refuse" or (plan.proposals and is_guess(plan, text))):
            return Answer(request, "refuse", noted("", unknown, tokenizer), [], seen, unknown, plan=plan)
        if plan.act in ("refuse", "answer"):
            words = noted(true_answer(plan, seen, self._state.picture), unknown, tokenizer)
            return Answer(request, plan.act, words, [], seen, unknown, plan=plan)
        try:
            proposals = self._proposed(plan, features, text)
        except UserError as error:
            return Answer(request, "refuse", noted(str(error), unknown, tokenizer), [], seen, unknown, plan=plan)
        words = noted(true_lead(plan, proposals, text), unknown, tokenizer, left_out(plan, text))
        return Answer(request, plan.act, words, proposals, seen, unknown, plan=plan)

    def _proposed(self, plan: Plan, features: Tensor, text: str) -> list[Proposal]:
        """The proposals of a plan; where something was clearly asked for, the dialogue goes on from the first."""
        start = self._started_from(plan.proposals[0])
        rng = np.random.default_rng([self.seed, _NEXT_REQUEST, len(self.history)])
        seen = self._now(start)
        changes = [resolved(proposal, seen, rng) for proposal in plan.proposals]
        edits = [start.edit.changed(proposal) for proposal in changes]
        if {change.kind for change in changes[0]} <= {"spread", "again"}:  # of draws one wants to see several
            changes *= _DRAWS
            edits = [edits[0].redrawn(k) for k in range(_DRAWS)]
        if edits == [start.edit] and plan.proposals[0][0].kind in ("undo", "pick"):
            return [self._unchanged(start, changes[0])]
        edits = [self.subject.worded(edit, start.base) for edit in edits]
        targets = [seen.after(proposal) for proposal in changes]
        now = self.subject.worded(start.edit, start.base)
        if plan.act == "edit" and start is self._state and replace(edits[0], asked={}) == replace(now, asked={}):
            raise UserError(f"That is how the {seen.family} is already.")
        prompt = prompt_of(text)
        answers = [write_plan(Plan(seen, "edit", (proposal,))) for proposal in changes]
        wanted = self._stored.model.wanted(features, [prompt] * len(edits), answers)
        attributes = [[c for c in proposal if c.kind in _MEASURED] for proposal in changes]
        found = self._proposer.propose(self.subject, edits, attributes, targets, wanted, start.picture, start.origin)
        found = [replace(one, changes=proposal) for one, proposal in zip(found, changes, strict=True)]
        if plan.act == "wish" and sum(one.holds for one in found) >= 2:
            found = [one for one in found if one.holds]
        if plan.act == "edit":
            self._go_on(replace(start, edit=found[0].edit, picture=found[0].picture))
        return found

    def _started_from(self, changes: Sequence[Change]) -> _State:
        """Where a proposal begins: here, at one of the last proposals, before the last change, or at another picture.

        Raises:
            UserError: there is no such proposal, picture or past.
        """
        state = self._state
        for change in changes:
            if change.kind == "pick":
                state = self._picked(change.value)
            elif change.kind == "undo":
                if not self._undone:
                    raise UserError("There is nothing to undo: nothing was changed yet.")
                state = self._undone.pop()
                self._state = state
            elif change.kind == "reference":
                if self.pictures is None or NUMBERS.index(change.value) >= len(self.pictures):
                    count = 0 if self.pictures is None else len(self.pictures)
                    raise UserError(f"There is no {change.value} picture: {count} were given.")
                state = self._of_picture(NUMBERS.index(change.value))
        return state

    def _picked(self, number: str) -> _State:
        last = next((answer.proposals for answer in reversed(self.history) if answer.proposals), [])
        place = NUMBERS.index(number)
        if place >= len(last):
            raise UserError(f"There is no {number} proposal: the last answer has {len(last)}.")
        return replace(self._state, edit=last[place].edit, picture=last[place].picture)

    def _unchanged(self, state: _State, changes: tuple[Change, ...]) -> Proposal:
        """A picture that was there already, gone on with."""
        if changes[0].kind != "undo":
            self._go_on(state)
        edit = self.subject.worded(state.edit, state.base)
        target = self._now(state)
        lift = self.subject.lift(edit, self._proposer.backbone.name)
        return Proposal(state.picture, edit, changes, target, [], f"the {target.family} as it was.", lift)

    def _go_on(self, state: _State) -> None:
        self._undone.append(self._state)
        self._state = state

    def _of_picture(self, place: int) -> _State:
        assert self.pictures is not None
        picture = self.pictures[place]
        seen = self._seen(picture)
        self.subject = WordSubject(seen.family)
        return _State(Edit(references=(place,), noise_seed=self.seed), picture, seen, picture)

    def _seen(self, picture: Tensor) -> Seen:
        """What a picture shows: the language model reads it; a colour that is hardly there gives way to the measured.

        Raises:
            UserError: it sees nothing that it knows.
        """
        features = self._stored.inputs(picture[None])[0][0]
        text = self._stored.model.answer(features, prompt_of("what is this"))
        try:
            seen = read_plan(text).seen
        except ValueError:
            seen = None
        if seen is None:
            raise UserError(f"the assistant cannot tell what the picture shows ({clipped(text)}): give another one.")
        is_there = color_shares(picture).get(seen.color, 0.0) >= CLEARLY
        return seen if is_there else replace(seen, color=main_color(picture, seen.family) or seen.color)

    def _now(self, state: _State | None = None) -> Seen:
        """What the picture should show by all that was asked for."""
        state = state or self._state
        return state.base.after([Change(kind, value) for kind, value in state.edit.asked.items()])

    def _past(self) -> str:
        last = self.history[-1] if self.history else None
        if last is None or len(last.proposals) != 1:
            return ""
        return f"{cleaned(last.request, most=16)} {write_changes([last.proposals[0].changes])}"


def _read(path: Path, size: int) -> Tensor:
    try:
        return torch.from_numpy(read_picture(Path(path), size)) / 2 + 0.5
    except FileNotFoundError:
        raise UserError(f"the picture {path} does not exist: check its name.") from None
    except Exception as error:  # decoders fail in every possible type on a broken file
        raise UserError(f"{path} cannot be read as a picture ({type(error).__name__}): give a PNG or JPEG.") from error
