"""What the assistant says to one request, and what it shows."""

from dataclasses import dataclass, field
from typing import Any

from dreamdist3d.assistant.intentions import Act, Plan, Seen
from dreamdist3d.assistant.proposing import Proposal


@dataclass(frozen=True, eq=False)
class Answer:
    """What the assistant says to one request, and what it shows."""

    request: str
    act: Act
    words: str
    proposals: list[Proposal] = field(default_factory=list)
    seen: Seen | None = None  # what the picture shows that the request is about
    unknown: list[str] = field(default_factory=list)  # words of the request that nobody taught it
    seconds: float = 0.0
    plan: Plan | None = None  # the language model's own, before it was held against the pictures; None: it made none

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON; pictures are not in it."""
        return {
            "request": self.request,
            "act": self.act,
            "words": self.words,
            "unknown_words": self.unknown,
            "seen": vars(self.seen) if self.seen else None,
            "proposals": [proposal.to_dict() for proposal in self.proposals],
            "seconds": round(self.seconds, 2),
        }
