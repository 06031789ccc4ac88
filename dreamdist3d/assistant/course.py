"""Where a dialogue stands, and the ways from there: on, back, to a proposal, to another of the pictures given."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from dreamdist3d.assistant.edit import Edit
from dreamdist3d.assistant.intentions import NUMBERS, Change, Seen
from dreamdist3d.assistant.proposing import Proposal
from dreamdist3d.assistant.subjects import Subject
from dreamdist3d.errors import UserError


@dataclass(frozen=True, eq=False)
class State:
    """The edit so far, and the picture that the next request is about."""

    subject: Subject
    edit: Edit
    picture: Tensor
    base: Seen  # what the subject shows without any edit
    origin: Tensor | None = None  # the picture given, if one was

    @property
    def now(self) -> Seen:
        """What the picture should show by all that was asked for."""
        return self.base.after([Change(kind, value) for kind, value in self.edit.asked.items()])

    def gone_to(self, proposal: Proposal) -> "State":
        """The state once a proposal is chosen."""
        return replace(self, edit=proposal.edit, picture=proposal.picture)


class Course:
    """The states of one dialogue.

    Args:
        begin: the first.
        pictures: how many were given.
        of_picture: the state in which one of them begins, by its place.
    """

    def __init__(self, begin: State, pictures: int, of_picture: Callable[[int], State]) -> None:
        self.state = begin
        self._left: list[State] = []
        self._pictures, self._of_picture = pictures, of_picture

    def go_on(self, state: State) -> None:
        """To `state`; `undo` leads back."""
        self._left.append(self.state)
        self.state = state

    def started_from(self, changes: Sequence[Change], last: Sequence[Proposal]) -> State:
        """Where a proposal begins: here, at one of the `last` ones, before the last change, or at another picture.

        Raises:
            UserError: there is no such proposal, picture or past.
        """
        state = self.state
        for change in changes:
            if change.kind == "pick":
                state = self.picked(change.value, last)
            elif change.kind == "undo":
                state = self._undone()
            elif change.kind == "reference":
                place = NUMBERS.index(change.value)
                if place >= self._pictures:
                    raise UserError(f"There is no {change.value} picture: {self._pictures} were given.")
                state = self._of_picture(place)
        return state

    def picked(self, number: str, last: Sequence[Proposal]) -> State:
        """One of the last proposals.

        Raises:
            UserError: there are not so many.
        """
        place = NUMBERS.index(number)
        if place >= len(last):
            raise UserError(f"There is no {number} proposal: the last answer has {len(last)}.")
        return self.state.gone_to(last[place])

    def _undone(self) -> State:
        if not self._left:
            raise UserError("There is nothing to undo: nothing was changed yet.")
        self.state = self._left.pop()
        return self.state
