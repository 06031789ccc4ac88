"""Requests with two halves: which of the proposals, and what is to change of it."""

import re

from dreamdist3d.assistant import world
from dreamdist3d.assistant.grammar import words as said
from dreamdist3d.assistant.intentions import NUMBERS, VALUES

_PICKED = re.compile(rf"(?:the |number )?({'|'.join(NUMBERS)}) (?:one|proposal)\b")
_JOINED = re.compile(r"^(?:[,.;:!]|but|and|then|only|though|however|just|is (?:good|nice|better))\s*")
_DONE_TO = ("make", "paint", "turn", "colour", "give", "put", "add", "on", "to", "for", "with", "of", "let")
_MEANT = {word for kind in ("color", "pattern", "material", "shape", "background") for word in VALUES[kind]} - {"any"}
_MEANT |= {word for nouns in (*said.PATTERN_NOUNS.values(), *said.MATERIAL_NOUNS.values()) for word in nouns}
_MEANT |= {*said.MORE.values(), *world.RELATIVE, "surprise"}
_MEANT |= {word for triggers, _ in world.MOODS.values() for word in triggers}


def parted(text: str) -> tuple[str, str] | None:
    """Which proposal a cleaned request is about, and what it asks of it; None unless it says both.

    >>> parted("i like the second one , but make it striped")
    ('second', 'make it striped')
    >>> parted("paint the third one red")
    ('third', 'paint it red')
    >>> parted("the second one is better")
    """
    found = _PICKED.search(text)
    if found is None:
        return None
    before, rest = text[: found.start()].strip(), text[found.end() :].strip()
    while joined := _JOINED.match(rest):
        rest = rest[joined.end() :]
    done_to = before.split()[-1:] and before.split()[-1] in _DONE_TO
    rest = f"{before} it {rest}".strip() if done_to else rest
    says_something = any(f" {word} " in f" {rest} " for word in _MEANT)
    return (found[1], rest) if says_something else None
