"""The forms in which attributes are said, and the assistant's own sentences about them."""

from collections.abc import Sequence

import numpy as np

from dreamdist3d.assistant.intentions import Change, Proposal, Seen
from dreamdist3d.mini.captions import SHAPE_WORDS
from dreamdist3d.mini.families import FAMILIES
from dreamdist3d.mini.palette import COLOR_NAMES
from dreamdist3d.mini.surface import MATERIALS, PATTERNS

PATTERN_NOUNS = {
    "plain": ("no pattern",),
    "striped": ("stripes",),
    "dotted": ("dots", "polka dots"),
    "checked": ("checks", "squares"),
    "two-tone": ("two tones",),
}
MATERIAL_NOUNS = {"matt": ("clay",), "glossy": ("porcelain",), "metallic": ("metal", "steel")}
MORE = {word: f"{word}er" for word in SHAPE_WORDS} | {
    "thin": "thinner", "wide": "wider", "flat": "flatter", "pointed": "more pointed", "spotted": "more spotted",
    "big": "bigger", "fat": "fatter",
}  # fmt: skip
SHAPES = {
    "mushroom": "narrow wide flat pointed", "chair": "narrow wide low tall", "table": "low tall round",
    "mug": "short tall narrow wide", "house": "narrow wide low tall", "rocket": "short tall thin fat",
    "tree": "narrow wide pointed round", "lamp": "narrow wide low tall", "snowman": "thin fat",
    "car": "short long low tall", "boat": "short long flat tall", "teapot": "thin fat low tall",
    "tower": "short tall thin fat", "bird": "thin fat", "flowerpot": "low tall narrow wide",
    "sword": "short long thin wide", "barrel": "short tall thin fat", "lantern": "low tall narrow wide",
    "fish": "short long thin fat", "cake": "narrow wide low tall",
}  # fmt: skip
KEPT = {"color": "colour", "shape": "shape", "pattern": "pattern"}
NUMBER_WORDS = {"first": "one", "second": "two", "third": "three", "fourth": "four"}


def pattern_noun(value: str, rng: np.random.Generator) -> str:
    """Stripes for striped."""
    return str(rng.choice(PATTERN_NOUNS[value]))


def in_words(change: Change, family: str) -> str:
    """A change as the assistant says it."""
    value = change.value
    said = {
        "color": f"in {value}",
        "part": f"with {value} {FAMILIES[family].part}",
        "pattern": f"with {PATTERN_NOUNS.get(value, ('another pattern',))[0]}",
        "second": f"in {value} over it",
        "material": f"in a {value} finish",
        "shape": f"made {MORE.get(value, value)}",
        "background": f"before a {value} background",
        "spread": "further from what is common" if value == "wider" else "closer to what is common",
        "again": "drawn anew",
        "mix": "in equal parts" if value == "equal" else f"with more of the {value} distribution",
        "reference": f"as in the {value} picture",
        "pick": f"from the {value} proposal",
        "undo": "as it was before",
    }
    return said[change.kind]


def said_of_edit(changes: Proposal, family: str, rng: np.random.Generator) -> str:
    """The assistant's sentence about what it was clearly asked for."""
    done = " , ".join(in_words(change, family) for change in changes)
    forms = ("here is the {f} {d} .", "the {f} {d} , the rest stays .", "i show the {f} {d} .")
    return str(rng.choice(forms)).format(f=family, d=done)


def said_of_edit_plainly(changes: Sequence[Change], family: str) -> str:
    """What was done, where the language model's own sentence says something else."""
    return f"the {family} {' , '.join(in_words(change, family) for change in changes)} ."


def said_of_wish(word: str, proposals: Sequence[Proposal], keep: str, rng: np.random.Generator) -> str:
    """Why these proposals: what a mood makes it think of, and what it leaves alone."""
    values = [changes[0].value for changes in proposals]
    listed = f"{' , '.join(values[:-1])} and {values[-1]}"
    forms = ("{w} makes me think of {l} .", "for {w} i would try {l} .", "{l} would suit {w} .")
    stays = f" the {KEPT[keep]} stays ." if keep else ""
    return str(rng.choice(forms)).format(w=word, l=listed) + stays


def said_of_seen(seen: Seen) -> str:
    """What the picture shows, as far as it matters."""
    pattern = "" if seen.pattern == "plain" else f"{seen.pattern} "
    material = "" if seen.material == "matt" else f"{seen.material} "
    second = f" and {seen.second}" if seen.second else ""
    return f"i see a {material}{pattern}{seen.color}{second} {seen.family} with {seen.part_color} {part_of(seen)} ."


def part_of(seen: Seen) -> str:
    """The name of the second part."""
    return FAMILIES[seen.family].part


def answers(seen: Seen) -> dict[str, str]:
    """The answer to each kind of question about a picture."""
    part = part_of(seen)
    verb = "are" if FAMILIES[seen.family].part_is_plural else "is"
    second = f" and {seen.second}" if seen.second else ""
    return {
        "what": said_of_seen(seen),
        "what_color": f"it is {seen.color}{second} .",
        "what_part": f"the {part} {verb} {seen.part_color} .",
        "what_pattern": f"it is {seen.pattern} .",
        "what_material": f"it looks {seen.material} .",
        "what_can": (
            "ask for another colour , pattern , material , shape or background , "
            "tell me a mood , or say what you like of my proposals ."
        ),
        "which_colors": f"i know {' , '.join(COLOR_NAMES)} .",
        "which_patterns": f"i know {' , '.join(PATTERNS)} , and the materials {' , '.join(MATERIALS)} .",
        "thanks": "what would you like to see ?",
    }


def said_of_wish_plainly(values: Sequence[str], count: int) -> str:
    """Words for proposals that are other than was planned: `values` are those of `count` that came out."""
    if not values:
        return f"none of my {count} pictures shows what i had in mind :"
    listed = f"{' , '.join(values[:-1])} and {values[-1]}" if len(values) > 1 else values[0]
    return f"{listed} would suit that ." if len(values) == count else f"of what i tried , {listed} came out ."
