"""The assistant as a class: a subject, a history, and an answer to each sentence."""

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dreamdist3d.assistant.answer import Answer
from dreamdist3d.assistant.clauses import parted
from dreamdist3d.assistant.course import Course, State
from dreamdist3d.assistant.edit import Edit, resolved
from dreamdist3d.assistant.generator.storage import Generator, is_for, load_generator
from dreamdist3d.assistant.intentions import Act, Change, Plan, write_changes
from dreamdist3d.assistant.lead import (
    FOLLOWING,
    NOT_UNDERSTOOD,
    is_guess,
    left_out,
    noted,
    true_answer,
    true_lead,
)
from dreamdist3d.assistant.proposing import CANDIDATES, STEPS, Proposal, Proposer
from dreamdist3d.assistant.reading import Reader, of_the, read_file
from dreamdist3d.assistant.storage import Stored, load_assistant
from dreamdist3d.assistant.subjects import DistributionSubject, PicturedSubject, Subject, WordSubject
from dreamdist3d.assistant.tokenizer import cleaned, unknown_words
from dreamdist3d.backbones import Backbone, load_backbone
from dreamdist3d.errors import UserError
from dreamdist3d.prompts import PromptSource
from dreamdist3d.prompts.formats.opening import open_distributions

_NEXT_REQUEST = 1009  # between the seeds of a request and of the next one, for what is drawn
_DRAWS = 3  # shown where other draws are asked for
_MEASURED = ("color", "part", "pattern", "second", "material", "shape", "background")


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
        like: a picture [3, S, S] in [0, 1] whose embedding takes the place of the language model's S (section 3.1).
        generator: the folder of one, for pictures; None: the one that lies in the assistant's folder, if it is for
            this backbone.
        scales: of its branches, S's and the patches' (CAFE, equation 1); None: pictures are made from words alone.

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
        like: Tensor | None = None,
        generator: Path | None = None,
        scales: tuple[float, float] | None = (1.0, 1.0),
    ) -> None:
        if (pictures is None) == (source is None):
            raise UserError("an assistant is about pictures or about a distribution: give one of the two.")
        self._stored = stored or load_assistant()
        self._reader = Reader(self._stored)
        self._proposer = Proposer(backbone or load_backbone("mini"), self._stored.inputs, steps, candidates)
        self.history: list[Answer] = []
        self.pictures, self.seed, self.like = pictures, seed, like
        self._generator: Generator | None = None
        if source is not None:
            source.check_model(self._proposer.backbone)
            begin = self._of_source(DistributionSubject(source, paths))
        else:
            if scales is not None:
                self._generator = _generator(generator, self._stored, self._proposer.backbone, scales)
            begin = self._of_picture(0)
        self._course = Course(begin, 0 if pictures is None else len(pictures), self._of_picture)

    @classmethod
    def of_pictures(cls, paths: Sequence[Path], **options: Any) -> "Assistant":
        """About picture files.

        Raises:
            UserError: a file that is missing or no picture.
        """
        backbone = options.pop("backbone", None) or load_backbone("mini")
        found = [read_file(path, backbone.image_size) for path in paths]
        return cls(torch.stack(found), backbone=backbone, **options)

    @classmethod
    def of_distribution(cls, paths: Sequence[Path], **options: Any) -> "Assistant":
        """About a distribution file, or the blend of several."""
        return cls(source=open_distributions(paths), paths=paths, **options)

    @property
    def picture(self) -> Tensor:
        """[3, S, S] in [0, 1]: what the next request is about."""
        return self._course.state.picture

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
        text, state = cleaned(request), self._course.state
        if past is None:
            past = self._past() if set(text.split()) & set(FOLLOWING) else ""
        plan = self._reader.plan(state.picture, state.now, text, past)
        return self._whole(plan, text)

    def _whole(self, plan: Plan, text: str) -> Plan:
        """The plan, with both halves of a request that names one of the last proposals and what to change of it."""
        halves, last = parted(text), self._last()
        kinds = {change.kind for changes in plan.proposals for change in changes}
        if halves is None or not last or ("pick" in kinds and len(kinds) > 1):
            return plan
        number, rest = halves
        try:
            start = self._course.picked(number, last)
        except UserError:  # told once it is to be made
            return of_the(number, plan) if "pick" not in kinds and plan.proposals else plan
        asked = self._reader.plan(start.picture, start.now, rest)
        return of_the(number, asked) if asked.proposals else asked

    def _answered(self, request: str, text: str) -> Answer:
        tokenizer, state = self._stored.model.tokenizer, self._course.state
        unknown, seen = unknown_words(tokenizer, text), state.now

        def answer(
            act: Act, words: str, plan: Plan | None, proposals: Sequence[Proposal] = (), undone: Sequence[str] = ()
        ) -> Answer:
            said = noted(words, unknown, tokenizer, undone)
            return Answer(request, act, said, list(proposals), seen, unknown, plan=plan)

        try:
            plan = self.read(text)
        except ValueError:
            return answer("refuse", NOT_UNDERSTOOD, None)
        if unknown and (plan.act == "refuse" or (plan.proposals and is_guess(plan, text))):
            return answer("refuse", "", plan)
        if plan.act in ("refuse", "answer"):
            return answer(plan.act, true_answer(plan, seen, state.picture), plan)
        try:
            proposals = self._proposed(plan, text)
        except UserError as error:
            return answer("refuse", str(error), plan)
        return answer(plan.act, true_lead(plan, proposals, text), plan, proposals, left_out(plan, text))

    def _proposed(self, plan: Plan, text: str) -> list[Proposal]:
        """The proposals of a plan; where something was clearly asked for, the dialogue goes on from the first."""
        here = self._course.state
        start = self._course.started_from(plan.proposals[0], self._last())
        rng = np.random.default_rng([self.seed, _NEXT_REQUEST, len(self.history)])
        seen = start.now
        changes = [resolved(proposal, seen, rng) for proposal in plan.proposals]
        edits = [start.edit.changed(proposal) for proposal in changes]
        redrawn = {change.kind for change in changes[0]} - {"pick"}
        if redrawn and redrawn <= {"spread", "again"}:  # of draws one wants to see several
            changes *= _DRAWS
            edits = [edits[0].redrawn(k) for k in range(_DRAWS)]
        if edits == [start.edit] and plan.proposals[0][0].kind in ("undo", "pick"):
            return [self._unchanged(start, changes[0])]
        edits = [start.subject.worded(edit, start.base) for edit in edits]
        now = start.subject.worded(start.edit, start.base)
        if plan.act == "edit" and start is here and replace(edits[0], asked={}) == replace(now, asked={}):
            raise UserError(f"That is how the {seen.family} is already.")
        found = self._made(start, edits, changes, text)
        if plan.act == "wish" and sum(one.holds for one in found) >= 2:
            found = [one for one in found if one.holds]
        if plan.act == "edit":
            self._course.go_on(start.gone_to(found[0]))
        return found

    def _made(
        self, start: State, edits: Sequence[Edit], changes: Sequence[tuple[Change, ...]], text: str
    ) -> list[Proposal]:
        """The best picture of each edit."""
        seen = start.now
        targets = [seen.after(proposal) for proposal in changes]
        if self.like is None:
            wanted = self._reader.wanted(start.picture, seen, text, changes)
        else:
            wanted = self._stored.inputs(self.like[None])[1].expand(len(edits), -1)
        attributes = [[c for c in proposal if c.kind in _MEASURED] for proposal in changes]
        found = self._proposer.propose(start.subject, edits, attributes, targets, wanted, start.picture, start.origin)
        return [replace(one, changes=proposal) for one, proposal in zip(found, changes, strict=True)]

    def _unchanged(self, state: State, changes: tuple[Change, ...]) -> Proposal:
        """A picture that was there already, gone on with."""
        if changes[0].kind != "undo":
            self._course.go_on(state)
        edit = state.subject.worded(state.edit, state.base)
        lift = state.subject.lift(edit, self._proposer.backbone.name)
        return Proposal(state.picture, edit, changes, state.now, [], f"the {state.now.family} as it was.", lift)

    def _of_source(self, subject: Subject) -> State:
        edit = Edit(draw_seed=self.seed, noise_seed=self.seed)
        picture = self._proposer.sample(subject, [edit])[0]
        return State(subject, edit, picture, self._reader.seen(picture))

    def _of_picture(self, place: int) -> State:
        assert self.pictures is not None
        picture = self.pictures[place]
        seen = self._reader.seen(picture)
        subject: Subject = WordSubject(seen.family)
        if self._generator is not None:
            subject = PicturedSubject(seen.family, picture, self._generator)
        return State(subject, Edit(references=(place,), noise_seed=self.seed), picture, seen, picture)

    def _last(self) -> Sequence[Proposal]:
        """The proposals of the last answer that has any."""
        return next((answer.proposals for answer in reversed(self.history) if answer.proposals), [])

    def _past(self) -> str:
        last = self.history[-1] if self.history else None
        if last is None or len(last.proposals) != 1:
            return ""
        return f"{cleaned(last.request, most=16)} {write_changes([last.proposals[0].changes])}"


def _generator(
    folder: Path | None, stored: Stored, backbone: Backbone, scales: tuple[float, float]
) -> Generator | None:
    """The one that is named, or that lies beside the assistant; installed.

    Raises:
        UserError: it does not load, or its S is in another CLIP's space than the assistant's.
    """
    if folder is None:
        folder = stored.folder
        if folder is None or not is_for(folder, backbone):
            return None
    found = load_generator(folder, backbone)
    if found.inputs != stored.inputs.name:
        raise UserError(
            f"the generator in {folder} wants S of {found.inputs}, the assistant's is of {stored.inputs.name}."
        )
    found.install(backbone, scales)
    return found
