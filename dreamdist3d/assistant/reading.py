"""What the language model makes of pictures and of requests, with what is known taken out of its hands."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from dreamdist3d.assistant.decoding import SeenGrammar, WishGrammar
from dreamdist3d.assistant.grammar.words import said_of_edit_plainly
from dreamdist3d.assistant.intentions import SEE, Change, Plan, Seen, read_plan, write_plan, write_seen
from dreamdist3d.assistant.lead import answers_mood, kept_kinds, names_mood, settled
from dreamdist3d.assistant.model import prompt_of
from dreamdist3d.assistant.storage import Stored
from dreamdist3d.assistant.tokenizer import has_whole_words
from dreamdist3d.assistant.truth import CLEARLY, color_shares, main_color
from dreamdist3d.errors import UserError, clipped
from dreamdist3d.prompts.learning.images import read_picture


class Reader:
    """Pictures [3, H, W] in [0, 1] and cleaned requests, through one stored assistant."""

    def __init__(self, stored: Stored) -> None:
        self._stored = stored

    def features(self, picture: Tensor) -> Tensor:
        """[P, F]: what the language model gets of a picture."""
        return self._stored.inputs(picture[None])[0][0]

    def seen(self, picture: Tensor) -> Seen:
        """What a picture shows: the language model reads it; a colour that is hardly there gives way to the measured.

        Raises:
            UserError: it sees nothing that it knows.
        """
        model, asked = self._stored.model, prompt_of("what is this")
        features = self.features(picture)
        text = model.answer(features, asked)
        seen = _seen_in(text)
        if seen is None and has_whole_words(model.tokenizer):
            text = model.answer(features, asked, grammar=SeenGrammar(model.tokenizer))
            seen = _seen_in(text)
        if seen is None:
            raise UserError(f"the assistant cannot tell what the picture shows ({clipped(text)}): give another one.")
        is_there = color_shares(picture).get(seen.color, 0.0) >= CLEARLY
        return seen if is_there else replace(seen, color=main_color(picture, seen.family) or seen.color)

    def plan(self, picture: Tensor, seen: Seen, text: str, past: str = "") -> Plan:
        """What it makes of a request about a picture that shows `seen`, with which its answer begins.

        Raises:
            ValueError: it makes nothing of it.
        """
        tokenizer = self._stored.model.tokenizer
        # Of a vocabulary that spells words out of pieces, a word is no single token that could be taken away.
        may_insist = has_whole_words(tokenizer)
        try:
            plan = self._written(picture, seen, text, past)
            if answers_mood(plan, text) or not may_insist:
                return plan
        except ValueError:
            if not (names_mood(text) and may_insist):
                raise
        return self._written(picture, seen, text, past, WishGrammar(tokenizer, seen, kept_kinds(text)))

    def _written(self, picture: Tensor, seen: Seen, text: str, past: str, grammar: WishGrammar | None = None) -> Plan:
        begun = f"{SEE} {write_seen(seen)}"
        said = self._stored.model.answer(self.features(picture), prompt_of(text, past), begun, grammar=grammar)
        return settled(read_plan(said), seen, text)

    def wanted(self, picture: Tensor, seen: Seen, text: str, changes: Sequence[tuple[Change, ...]]) -> Tensor:
        """S [N, S]: the embedding of the picture that each proposal wants."""
        answers = [write_plan(Plan(seen, "edit", proposal)) for proposal in ((one,) for one in changes)]
        return self._stored.model.wanted(self.features(picture), [prompt_of(text)] * len(answers), answers)


def _seen_in(text: str) -> Seen | None:
    try:
        return read_plan(text).seen
    except ValueError:
        return None


def of_the(number: str, plan: Plan) -> Plan:
    """A plan about one of the last proposals, in words that say so."""
    pick = Change("pick", number)
    proposals = tuple((pick, *changes) for changes in plan.proposals)
    words = plan.words
    if plan.act == "edit" and plan.seen is not None:
        words = said_of_edit_plainly(proposals[0], plan.seen.family)
    return replace(plan, proposals=proposals, words=words)


def read_file(path: Path, size: int) -> Tensor:
    """A picture file as [3, S, S] in [0, 1].

    Raises:
        UserError: it is missing or no picture.
    """
    try:
        return torch.from_numpy(read_picture(Path(path), size)) / 2 + 0.5
    except FileNotFoundError:
        raise UserError(f"the picture {path} does not exist: check its name.") from None
    except Exception as error:  # decoders fail in every possible type on a broken file
        raise UserError(f"{path} cannot be read as a picture ({type(error).__name__}): give a PNG or JPEG.") from error
