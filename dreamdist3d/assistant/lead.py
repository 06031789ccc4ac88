"""The sentences around proposals: the language model's own where they are true, else words that are."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor

from dreamdist3d.assistant import world
from dreamdist3d.assistant.decoding import FEWEST
from dreamdist3d.assistant.grammar import words as said
from dreamdist3d.assistant.intentions import ANY, NUMBERS, VALUES, Change, Plan, Seen
from dreamdist3d.assistant.proposing import Proposal
from dreamdist3d.assistant.tokenizer import nearest_words
from dreamdist3d.assistant.truth import colors_in, main_color, shows_color
from dreamdist3d.errors import clipped
from dreamdist3d.mini.families import FAMILIES

NOT_UNDERSTOOD = (
    "I did not understand that. Ask for a colour, pattern, material, shape or background, or tell me a mood."
)
MISSED = "i tried , but the picture is not what you asked for :"
_STAYING = ("keep", "leave", "stay", "stays", "same", "not", "don't", "without")
_KINDS_OF = {"colour": ("color", "part", "second"), "pattern": ("pattern", "second"), "shape": ("shape",)}
_SAID = ("color", "part", "pattern", "second", "material", "shape")  # kinds whose value a request names
_BACK = ("undo", "back", "before")  # words of requests about what was there already
_LISTS = ("i know", "ask for")  # how answers begin that say nothing of a picture
_TRIGGERS = {word for triggers, _ in world.MOODS.values() for word in triggers}
_PARTS = {kind.part for kind in FAMILIES.values()}
FOLLOWING = ("too", "also", "same", "more", "other", "another")  # words of requests that go on from the last one


def settled(plan: Plan, seen: Seen, request: str) -> Plan:
    """The plan with what is known taken out of the model's hands.

    Darker and lighter are a table from the colour that shows by now. Of a wish's proposals none is made twice, none
    leaves things as they are, and none changes what the request says is to stay.
    """
    words = request.split()
    if plan.act == "wish":
        kept = kept_kinds(request)
        different = [
            p for p in dict.fromkeys(plan.proposals) if seen.after(p) != seen or any(c.value == ANY for c in p)
        ]
        proposals = [p for p in different if not any(change.kind in kept for change in p)]
        return replace(plan, proposals=tuple(proposals)) if proposals else plan
    relative = next((word for word in words if word in world.RELATIVE), None)
    asks = [change.kind for changes in plan.proposals for change in changes] == ["color"]
    if relative is None or not asks or colors_in(request):
        return plan
    found = world.RELATIVE[relative].get(seen.color)
    if found is None:
        return Plan(plan.seen, "refuse", (), f"there is nothing {relative} than {seen.color} here .")
    change = Change("color", found)
    same = found == plan.proposals[0][0].value
    said_so = plan.words if same else said.said_of_edit_plainly([change], seen.family)
    return Plan(plan.seen, "edit", ((change,),), said_so)


def kept_kinds(request: str) -> set[str]:
    """The kinds of change that a request forbids."""
    words = request.split()
    if not set(words) & set(_STAYING):
        return set()
    return {kind for word, kinds in _KINDS_OF.items() if word in words for kind in kinds}


def names_mood(request: str) -> bool:
    """Whether a cleaned request has a word that tells a mood."""
    return bool(_TRIGGERS & set(request.split()))


def answers_mood(plan: Plan, request: str) -> bool:
    """Whether the plan leaves a choice, if it is a wish, and does something that the request says, if it is an edit.

    A mood is answered by a wish, so an edit of a request that names one must be about something else it names.
    """
    if plan.act == "wish":
        return len(plan.proposals) >= FEWEST
    words = set(request.split())
    if plan.act != "edit" or not names_mood(request) or words & {*NUMBERS, *_BACK}:
        return True
    return any(change.kind in _SAID and words & _names(change) for changes in plan.proposals for change in changes)


def true_answer(plan: Plan, seen: Seen, picture: Tensor) -> str:
    """The model's answer to a question, unless it names a colour that the picture lacks; refusals are as they are."""
    if plan.act == "refuse" or plan.words.startswith(_LISTS):
        return plan.words
    if names_nothing_else(plan.words, seen) and all(shows_color(picture, color) for color in colors_in(plan.words)):
        return plan.words
    return f"it looks {main_color(picture, seen.family) or 'like nothing i can name'} ; i am not sure of more ."


def true_lead(plan: Plan, proposals: Sequence[Proposal], request: str) -> str:
    """The model's words about proposals, where each of them is shown by a picture and was asked for."""
    seen = proposals[0].target
    own = names_nothing_else(plan.words, seen) and _TRIGGERS & set(plan.words.split()) <= set(request.split())
    forms = {said.MORE[change.value] for changes in plan.proposals for change in changes if change.kind == "shape"}
    own = own and not {form for form in said.MORE.values() if form in plan.words.split()} - forms
    if plan.act == "wish":
        kept = {change.value for one in proposals for change in one.changes}
        meant = {change.value for changes in plan.proposals for change in changes}
        complete = set(colors_in(plan.words)) | (meant - {"any"}) <= kept
        if own and complete and all(one.holds for one in proposals):
            return plan.words
        return said.said_of_wish_plainly([one.changes[0].value for one in proposals if one.holds], len(proposals))
    only = proposals[0]  # several are draws of one edit
    if not only.holds:
        return MISSED
    shown = all(shows_color(only.picture, color) for color in colors_in(plan.words))
    return plan.words if own and (shown or not only.verdicts) else said.said_of_edit_plainly(only.changes, seen.family)


def names_nothing_else(text: str, seen: Seen) -> bool:
    """Whether no other family and no other family's part is named than those of what is seen."""
    words = set(text.replace(".", " ").replace(",", " ").split())
    return not (words & (set(FAMILIES) - {seen.family}) or words & (_PARTS - {said.part_of(seen)}))


def left_out(plan: Plan, request: str) -> list[str]:
    """Colours, patterns and materials that a clear request names and the plan does nothing about."""
    done = {change.value for changes in plan.proposals for change in changes}
    known = (*VALUES["color"], *VALUES["pattern"], *VALUES["material"])
    return [
        word for word in request.split() if plan.act == "edit" and word in known and word not in done | {"any", "plain"}
    ]


def is_guess(plan: Plan, request: str) -> bool:
    """Whether a request with unknown words says nothing of what the plan does: it was read into them."""
    words = set(request.split())
    if plan.act == "wish":
        surprises = all(change.value == "any" for changes in plan.proposals for change in changes)
        return not (surprises or words & _TRIGGERS)
    return not all(_is_said(change, words) for changes in plan.proposals for change in changes)


def _is_said(change: Change, words: set[str]) -> bool:
    return change.kind not in _SAID or bool(words & {*FOLLOWING, *_names(change)})


def _names(change: Change) -> set[str]:
    """The words by which a request may name a change of an attribute."""
    nouns = (*said.PATTERN_NOUNS.get(change.value, ()), *said.MATERIAL_NOUNS.get(change.value, ()))
    relative = world.RELATIVE if change.kind == "color" else ()
    return {change.value, said.MORE.get(change.value, ""), *relative, *(w for noun in nouns for w in noun.split())}


def noted(words: str, unknown: Sequence[str], tokenizer: Any, undone: Sequence[str] = ()) -> str:
    """Words that are spelled and begun as a person would, after what was not understood or is not done."""
    notes = [f"I left out {' and '.join(undone)}: ask for it by itself."] if undone else []
    for word in unknown:
        near = " or ".join(f'"{other}"' for other in nearest_words(tokenizer, word))
        notes.append(f'I do not know "{clipped(word)}"' + (f"; did you mean {near}?" if near else "."))
    return " ".join([*notes, spelled(words)]).strip()


def spelled(words: str) -> str:
    """A language model's words as people write them: marks at the words, sentences begun with a capital."""
    text = words.replace("i cannot do that ", "i cannot do that : ").replace(": : ", ": ")
    for mark in ",.?:;":
        text = text.replace(f" {mark}", mark)
    sentences = [part.strip() for part in text.strip().replace("? ", "?\n").replace(". ", ".\n").splitlines()]
    text = " ".join(part[:1].upper() + part[1:] for part in sentences)
    return " ".join("I" if word == "i" else word for word in text.split(" "))
