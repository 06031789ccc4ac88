"""What a sentence asks for, as values: an act, and the changes of each proposal. Written and read as plain words."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from dreamdist3d.mini.captions import BACKGROUND_NAMES, SHAPE_WORDS
from dreamdist3d.mini.palette import COLOR_NAMES
from dreamdist3d.mini.surface import MATERIALS, PATTERNS

Act = Literal["edit", "wish", "answer", "refuse"]
ACTS: tuple[str, ...] = get_args(Act)
SEE, DO, SAY = "<see>", "<do>", "<say>"
NUMBERS = ("first", "second", "third", "fourth")
ANY = "any"  # a value that is drawn when the proposal is made

VALUES: dict[str, tuple[str, ...]] = {
    "color": (*COLOR_NAMES, ANY),
    "part": COLOR_NAMES,  # colour of the second part
    "pattern": (*PATTERNS, ANY),
    "second": COLOR_NAMES,  # colour of the pattern
    "material": (*MATERIALS, ANY),
    "shape": SHAPE_WORDS,
    "background": BACKGROUND_NAMES,
    "spread": ("wider", "closer"),  # gamma of a distribution
    "again": ("same",),  # other draws of the same
    "mix": (*NUMBERS[:2], "equal"),  # weights of a blend
    "reference": NUMBERS,  # one of the pictures given
    "pick": NUMBERS,  # one of the proposals before
    "undo": ("last",),
}
"""Every kind of change and the words it can be set to."""


@dataclass(frozen=True)
class Change:
    """One attribute and the word it is set to.

    Raises:
        ValueError: an unknown kind, or a word that it cannot be set to.
    """

    kind: str
    value: str

    def __post_init__(self) -> None:
        if self.value not in VALUES.get(self.kind, ()):
            raise ValueError(f"{self.kind!r} cannot be {self.value!r}")


Proposal = tuple[Change, ...]


@dataclass(frozen=True)
class Seen:
    """What a picture of the miniature world shows; `second` and `shape` may be empty."""

    family: str
    color: str
    pattern: str = "plain"
    material: str = "matt"
    part_color: str = ""
    second: str = ""
    shape: str = ""

    def after(self, changes: Sequence[Change]) -> "Seen":
        """What the picture should show once it is changed; `any` and what is no attribute changes nothing."""
        values = dict(vars(self))
        for change in changes:
            name = {"part": "part_color"}.get(change.kind, change.kind)
            if name in values and change.value != ANY:
                values[name] = change.value
        if values["pattern"] == "plain":
            values["second"] = ""
        elif values["second"] == values["color"]:  # a pattern of one colour is none: the two change places
            values["second"] = self.color
        return Seen(**values)


@dataclass(frozen=True)
class Plan:
    """What the assistant makes of a request: what it sees, what it does, and its words."""

    seen: Seen | None
    act: Act
    proposals: tuple[Proposal, ...] = ()
    words: str = ""


def write_changes(proposals: Sequence[Proposal]) -> str:
    """`<do> color blue pattern striped <do> ...`."""
    return " ".join(f"{DO} " + " ".join(f"{c.kind} {c.value}" for c in changes) for changes in proposals)


def write_seen(seen: Seen) -> str:
    """`tall matt striped red and blue mug white`: what is empty is left out."""
    second = f"and {seen.second}" if seen.second else ""
    words = (seen.shape, seen.material, seen.pattern, seen.color, second, seen.family, seen.part_color)
    return " ".join(word for word in words if word)


def write_plan(plan: Plan) -> str:
    """A plan as the language model writes it; `read_plan` is the inverse."""
    seen = f"{SEE} {write_seen(plan.seen)}" if plan.seen else SEE
    parts = [seen, f"<{plan.act}>", write_changes(plan.proposals), f"{SAY} {plan.words}"]
    return " ".join(part for part in parts if part)


def read_plan(text: str) -> Plan:
    """A plan from a language model's text.

    Raises:
        ValueError: it is none, in one line that says where.
    """
    before, mark, words = text.partition(SAY)
    acts = [act for act in ACTS if f"<{act}>" in before]
    if not mark or len(acts) != 1 or "<" in words:
        raise ValueError("the answer has no single act, or no words")
    seen, _, done = before.partition(f"<{acts[0]}>")
    proposals = tuple(_read_changes(part.split()) for part in done.split(DO)[1:])
    act: Act = acts[0]  # type: ignore[assignment]
    if (act in ("edit", "wish")) != bool(proposals):
        raise ValueError(f"{act} has {len(proposals)} proposals")
    return Plan(read_seen(seen.replace(SEE, "").split()), act, proposals, words.strip())


def _read_changes(words: Sequence[str]) -> Proposal:
    if not words or len(words) % 2:
        raise ValueError(f"changes come in pairs, not as {' '.join(words)!r}")
    return tuple(Change(kind, value) for kind, value in zip(words[::2], words[1::2], strict=True))


def read_seen(words: Sequence[str]) -> Seen | None:
    """What `write_seen` wrote, from its words; None where no family and colour are named."""
    from dreamdist3d.mini.families import FAMILIES

    place = next((i for i, word in enumerate(words) if word in FAMILIES), None)
    if place is None:
        return None
    before, after = words[:place], words[place + 1 :]
    colors = [word for word in before if word in COLOR_NAMES]
    if not colors:
        return None

    def first(known: Sequence[str], among: Sequence[str], otherwise: str) -> str:
        return next((word for word in among if word in known), otherwise)

    return Seen(
        words[place],
        colors[0],
        first(PATTERNS, before, "plain"),
        first(MATERIALS, before, "matt"),
        first(COLOR_NAMES, after, ""),
        colors[1] if len(colors) > 1 else "",
        first(SHAPE_WORDS, before, ""),
    )
