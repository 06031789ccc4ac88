"""Requests with the truth behind them: what is seen, what is asked, what should be done and said (CAFE, section 3.2).

Held out by construction: sentences of `phrases.HELD_OUT`, whose word order no training sentence has, and pairs of a
family and a value that no training request asks for (`is_unseen`).
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from dreamdist3d.assistant import world
from dreamdist3d.assistant.grammar import phrases, words
from dreamdist3d.assistant.intentions import ANY, NUMBERS, Change, Plan, Proposal, Seen, write_changes
from dreamdist3d.mini.captions import BACKGROUND_NAMES
from dreamdist3d.mini.families import FAMILIES
from dreamdist3d.mini.palette import COLOR_NAMES
from dreamdist3d.mini.surface import MATERIALS, PATTERNS

Split = Literal["train", "held_out"]
UNKNOWN = "<unk>"
_UNSEEN_SHARE = 6  # one of so many pairs of family and value is held out
_UNKNOWN_WORDS, _PAST = 0.08, 0.3  # how often a sentence has a word nobody knows, or follows another one

CLEAR = (
    "color", "part", "pattern", "second", "material", "shape", "background", "two", "color_part", "relative", "wider",
    "closer", "again", "mix", "reference", "pick", "pick_color", "undo", "also_part",
)  # fmt: skip
VAGUE = ("mood", "mood_keep", "surprise")
QUESTIONS = (
    "what", "what_color", "what_part", "what_pattern", "what_material", "what_can", "which_colors", "which_patterns",
    "thanks",
)  # fmt: skip
REFUSED = (*(f"no_{reason}" for reason in world.IMPOSSIBLE), "unknown", "limit")
ODDS = {"clear": 0.46, "vague": 0.3, "question": 0.12, "refused": 0.12}
_KINDS = {"clear": CLEAR + ("more_so", "equal"), "vague": VAGUE, "question": QUESTIONS, "refused": REFUSED}
_WEIGHTS = {"color": 3.0, "mood": 4.0, "mood_keep": 2.0, "part": 2.0, "pattern": 2.0, "material": 2.0, "relative": 2.0}


@dataclass(frozen=True)
class Turn:
    """One request and its truth."""

    kind: str  # a key of `phrases.TRAIN`, "unknown" or "limit"
    request: str
    plan: Plan
    past: str = ""  # the request before and what was done: "a bit darker <do> color brown"
    family: str = ""

    @property
    def is_vague(self) -> bool:
        """Whether several answers are right."""
        return self.kind in VAGUE


def is_unseen(family: str, value: str) -> bool:
    """Whether this pair is kept out of training."""
    return hashlib.sha256(f"{family} {value}".encode()).digest()[0] % _UNSEEN_SHARE == 0


def draw_turn(seen: Seen, rng: np.random.Generator, split: Split = "train", group: str | None = None) -> Turn:
    """A request about a picture that shows `seen`.

    Args:
        rng: the only source of randomness.
        split: whose sentences and pairs.
        group: "clear", "vague", "question" or "refused"; None for a draw by `ODDS`.
    """
    group = group or str(rng.choice(list(ODDS), p=list(ODDS.values())))
    while True:
        kinds = [k for k in _KINDS[group] if split == "train" or k in phrases.HELD_OUT or k in ("unknown", "limit")]
        odds = np.array([_WEIGHTS.get(kind, 1.0) for kind in kinds])
        turn = turn_of(str(rng.choice(kinds, p=odds / odds.sum())), seen, rng, split)
        if turn is not None:
            return turn


def turn_of(
    kind: str, seen: Seen, rng: np.random.Generator, split: Split = "train", changes: Proposal | None = None
) -> Turn | None:
    """A request of one kind, for given changes if any; None where the picture or the split allows no such request."""
    said = _Saying(seen, rng, split)
    if kind in VAGUE:
        return said.wish(kind)
    if kind in QUESTIONS:
        return said.question(kind)
    if kind in REFUSED:
        return said.refusal(kind)
    return said.edit(kind, changes)


def kind_of(changes: Proposal) -> str | None:
    """The kind of request that asks for exactly these attributes, if there is one."""
    kinds = tuple(change.kind for change in changes)
    single = {
        ("color",): "color", ("part",): "part", ("pattern",): "pattern", ("pattern", "second"): "second",
        ("material",): "material", ("color", "part"): "color_part", ("color", "material"): "two",
    }  # fmt: skip
    return single.get(kinds)


class _Saying:
    def __init__(self, seen: Seen, rng: np.random.Generator, split: Split) -> None:
        self.seen, self.rng, self.split, self.family = seen, rng, split, seen.family

    def edit(self, kind: str, changes: Proposal | None) -> Turn | None:
        """A clear request and its one proposal."""
        slots, past = {}, ""
        if kind == "relative":
            value = self.one(list(world.RELATIVE))
            if self.seen.color not in world.RELATIVE[value]:
                return None
            slots, changes = {"value": value}, (Change("color", world.RELATIVE[value][self.seen.color]),)
        elif kind in ("also_part", "more_so"):
            past, changes = self.follow_up(kind)
        else:
            changes = changes or self.drawn(kind)
        if not changes or (kind not in ("relative", "more_so") and self.leaks(changes)):
            return None
        slots = slots or self.slots(kind, changes)
        plan = Plan(self.seen, "edit", (changes,), words.said_of_edit(changes, self.family, self.rng))
        return self.turn(kind, slots, plan, past)

    def wish(self, kind: str) -> Turn | None:
        """A vague request and two or three proposals."""
        keep, trigger = "", "a surprise"
        candidates: tuple[tuple[str, str], ...] = world.SURPRISE
        slots: dict[str, str] = {}
        if kind != "surprise":
            mood = self.one(list(world.MOODS))
            if self.leaks((), mood):
                return None
            triggers, candidates = world.MOODS[mood]
            trigger = self.one(triggers)
            slots = {"mood": trigger}
        if kind == "mood_keep":
            keep = self.one(list(words.KEPT))
            slots |= {"kept": words.KEPT[keep], "mood_phrase": self.pattern("mood")}
        found = world.proposals_for(candidates, self.seen, keep)
        proposals = tuple((change,) for change in found)
        if kind == "surprise":
            said = "let me play with its colour , its pattern and its material ."
        else:
            said = words.said_of_wish(trigger, proposals, keep, self.rng)
        return self.turn(kind, slots, Plan(self.seen, "wish", proposals, said))

    def question(self, kind: str) -> Turn:
        """Something to be answered in words."""
        return self.turn(kind, {}, Plan(self.seen, "answer", (), words.answers(self.seen)[kind]))

    def refusal(self, kind: str) -> Turn | None:
        """Something that cannot be done, or not be understood."""
        if kind == "limit":
            extremes = {"black": "darker", "white": "lighter"}
            if self.seen.color not in extremes:
                return None
            value = extremes[self.seen.color]
            said = f"i cannot do that : there is nothing {value} than {self.seen.color} here ."
            return self.turn("relative", {"value": value}, Plan(self.seen, "refuse", (), said))
        if kind == "unknown":
            pattern = self.one(("color", "material", "mood", "no_thing", "no_writing", "part"))
            slots = {"value": UNKNOWN, "mood": UNKNOWN, "material_noun": UNKNOWN}
            return self.turn(
                pattern, slots, Plan(self.seen, "refuse", (), "i do not know that word ."), named="unknown"
            )
        reason = kind.removeprefix("no_")
        slots = {"value": self.one(world.IMPOSSIBLE[reason])}
        said = f"i cannot do that : {world.REASONS[reason]} ."
        return self.turn(kind, slots, Plan(self.seen, "refuse", (), said))

    def drawn(self, kind: str) -> Proposal:
        """Changes of one kind that change something."""
        seen, other = self.seen, self.other
        makers: dict[str, Callable[[], Sequence[tuple[str, str]]]] = {
            "color": lambda: [("color", other(COLOR_NAMES, seen.color))],
            "part": lambda: [("part", other(COLOR_NAMES, seen.part_color))],
            "pattern": lambda: [("pattern", other(PATTERNS, seen.pattern))],
            "second": lambda: [
                ("pattern", other(PATTERNS[1:], seen.pattern)),
                ("second", other(COLOR_NAMES, seen.color)),
            ],
            "material": lambda: [("material", other(MATERIALS, seen.material))],
            "shape": lambda: [("shape", other(words.SHAPES[seen.family].split(), seen.shape))],
            "background": lambda: [("background", self.one(BACKGROUND_NAMES))],
            "two": lambda: [
                ("color", other(COLOR_NAMES, seen.color)),
                self.one_pair(
                    [("pattern", other(PATTERNS, seen.pattern)), ("material", other(MATERIALS, seen.material))]
                ),
            ],
            "color_part": lambda: [("color", other(COLOR_NAMES, seen.color)), ("part", self.one(COLOR_NAMES))],
            "wider": lambda: [("spread", "wider")],
            "closer": lambda: [("spread", "closer")],
            "again": lambda: [("again", "same")],
            "mix": lambda: [("mix", self.one(NUMBERS[:2]))],
            "equal": lambda: [("mix", "equal")],
            "reference": lambda: [("reference", self.one(NUMBERS))],
            "pick": lambda: [("pick", self.one(NUMBERS))],
            "pick_color": lambda: [("pick", self.one(NUMBERS)), ("color", other(COLOR_NAMES, seen.color))],
            "undo": lambda: [("undo", "last")],
        }  # fmt: skip
        return tuple(Change(*pair) for pair in makers[kind]())

    def follow_up(self, kind: str) -> tuple[str, Proposal]:
        """What went before, and the changes that the request means after it; none where nothing can follow."""
        if kind == "also_part":
            before = turn_of("color", self.seen, self.rng, "train", (Change("color", self.seen.color),))
            if before is None or self.seen.part_color == self.seen.color:
                return "", ()
            return self.past_of(before), (Change("part", self.seen.color),)
        value = self.one(list(world.RELATIVE))
        table = world.RELATIVE[value]
        if self.seen.color not in table.values() or self.seen.color not in table:
            return "", ()
        request = self.filled(self.pattern("relative"), {"value": value})
        return f"{request} {write_changes([(Change('color', self.seen.color),)])}", (
            Change("color", table[self.seen.color]),
        )

    def slots(self, kind: str, changes: Proposal) -> dict[str, str]:
        """The words of the changes, by the pattern's slots."""
        first, last = changes[0].value, changes[-1].value
        found = {"value": first, "other": last, "number": words.NUMBER_WORDS.get(first, "")}
        for change in changes:
            if change.kind == "pattern":
                found["pattern_noun"] = words.pattern_noun(change.value, self.rng)
            if change.kind == "material":
                found["material_noun"] = self.one(words.MATERIAL_NOUNS[change.value])
            if change.kind == "shape":
                found["more"] = words.MORE[change.value]
            if change.kind == "second":
                found["second"] = change.value
        return found

    def turn(self, kind: str, slots: dict[str, str], plan: Plan, past: str = "", named: str = "") -> Turn:
        """The request in words, sometimes with a word nobody knows, and after another one."""
        request = self.filled(self.pattern(kind), slots)
        rng, held_out = self.rng, self.split == "held_out"
        opener = "" if held_out else str(rng.choice(phrases.OPENERS))
        closer = "" if held_out else str(rng.choice(phrases.CLOSERS))
        if not held_out and rng.random() < _UNKNOWN_WORDS:
            opener = UNKNOWN
        if not past and rng.random() < _PAST:
            before = turn_of("color", self.seen, rng, "train", (Change("color", self.seen.color),))
            past = self.past_of(before) if before else ""
        limit = "limit" if plan.act == "refuse" and kind == "relative" else kind
        return Turn(named or limit, " ".join(f"{opener} {request} {closer}".split()), plan, past, self.family)

    @staticmethod
    def past_of(turn: Turn) -> str:
        return f"{turn.request} {write_changes(turn.plan.proposals)}"

    def leaks(self, changes: Proposal, mood: str = "") -> bool:
        """Whether a training request would ask for a pair that is held out; such pairs are half of what is held out."""
        values = [mood] if mood else [c.value for c in changes if c.kind in ("color", "part", "pattern", "material")]
        unseen = any(is_unseen(self.family, value) for value in values)
        if self.split == "train":
            return unseen
        return bool(values) and not unseen and self.rng.random() < 0.6

    def pattern(self, kind: str) -> str:
        """A sentence of this split."""
        table = phrases.TRAIN if self.split == "train" else phrases.HELD_OUT
        table = table if kind in table else phrases.TRAIN
        return phrases.expanded(str(self.rng.choice(table[kind])), self.rng)

    def filled(self, pattern: str, slots: dict[str, str]) -> str:
        """A sentence with its slots filled; those that are not given name the thing, its family and its part."""
        thing = self.one(("it", "it", "this", f"the {self.family}", f"this {self.family}"))
        slots = {"thing": thing, "family": self.family, "part": FAMILIES[self.family].part} | slots
        while "{" in pattern:
            pattern = pattern.format(**slots)
        return " ".join(pattern.split())

    def other(self, values: Sequence[str], than: str) -> str:
        return self.one([value for value in values if value not in (than, ANY)])

    def one(self, values: Sequence[str]) -> str:
        return str(values[int(self.rng.integers(len(values)))])

    def one_pair(self, pairs: Sequence[tuple[str, str]]) -> tuple[str, str]:
        return pairs[int(self.rng.integers(len(pairs)))]
