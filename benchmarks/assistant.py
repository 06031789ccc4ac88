"""The miniature assistant on held-out requests: intentions, proposals, truth of its words, identity, seconds.

    python benchmarks/assistant.py                 # as it ships
    python benchmarks/assistant.py --shown         # its generator everywhere
    python benchmarks/assistant.py --shown --scales 1 0    # without the patches' branch
    python benchmarks/assistant.py --words         # without the generator

Requests are of the held-out split: sentences that no training sentence is, half of them about pairs of a family and a
value that no training request asks for, on pictures of objects that were never trained on. A hundred are clear, a
hundred vague. What is asked is known; what the pictures show is told by `dreamdist3d.mini.measures`.
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import tyro

from dreamdist3d.assistant import Assistant, load_assistant, subjects, world
from dreamdist3d.assistant.grammar.dialogues import Turn, draw_turn, is_unseen
from dreamdist3d.assistant.intentions import Change, Plan, Seen
from dreamdist3d.assistant.pictures import group_specs, look_at, make_group
from dreamdist3d.assistant.train import HELD_OUT_SEED
from dreamdist3d.assistant.truth import colors_in, shared_colors, shows_color
from dreamdist3d.backbones import load_backbone
from dreamdist3d.eval import MiniClip
from dreamdist3d.files import write_json
from dreamdist3d.mini.families import build
from dreamdist3d.mini.measures import dominant_color, foreground, proportions
from dreamdist3d.mini.palette import COLOR_NAMES
from dreamdist3d.mini.render import composite

ATTRIBUTES = ("color", "part", "pattern", "second", "material", "shape", "background")
KEPT = {"color": ("color", "second", "part"), "pattern": ("pattern", "second")}


def main(
    out: Path = Path("outputs/assistant"),
    weights: Path | None = None,
    requests: int = 100,
    pictures: int = 100,
    first: int = 0,
    generator: Path | None = None,
    scales: tuple[float, float] = (1.0, 1.0),
    words: bool = False,
    shown: bool = False,
) -> None:
    """Write `requests.json` and print the figures.

    Args:
        weights: a folder that training wrote; None: the packaged one.
        requests: of each kind.
        pictures: how many of each kind are sampled too.
        first: number of the first request, to measure in pieces.
        generator: a folder that `assistant generator` wrote; None: the one beside the weights, if any.
        scales: of its branches, S's and the patches'.
        words: make pictures from words alone.
        shown: let the generator repaint too, which is told in words alone as it ships.
    """
    torch.set_num_threads(1)
    stored, backbone, clip = load_assistant(weights), load_backbone("mini"), MiniClip()
    rows: dict[str, list[dict]] = {"clear": [], "vague": []}
    if shown:
        subjects.TOLD.clear()
    options = {"generator": generator, "scales": None if words else scales}
    for index in range(first, first + requests):
        group_pictures, seen = make_group(HELD_OUT_SEED, index)
        talk = Assistant(group_pictures[:1], backbone=backbone, stored=stored, seed=index, scales=None)
        for group, rest in rows.items():
            turn = draw_turn(
                seen[0], np.random.default_rng([HELD_OUT_SEED, index, group == "vague"]), "held_out", group
            )
            plan = intention(talk, turn)
            row = {"kind": turn.kind, "request": turn.request, "past": turn.past, **judged(turn, plan, seen[0])}
            if index < first + pictures and (turn.is_vague or about_attributes(turn)):
                asked = Assistant(group_pictures[:1], backbone=backbone, stored=stored, seed=index, **options)
                row |= looked_at(asked, turn, clip, index)
            rest.append(row)
    figures = {group: summary(found) for group, found in rows.items()}
    write_json(out / "requests.json", {"figures": figures, "requests": rows})
    for group, values in figures.items():
        print(group)
        for name, value in values.items():
            print(f"  {name}: {value}")


def intention(talk: Assistant, turn: Turn) -> Plan | None:
    """What the assistant makes of a request, if anything."""
    try:
        return talk.read(turn.request, turn.past)
    except ValueError:
        return None


def about_attributes(turn: Turn) -> bool:
    """Whether a clear request can be asked without a past."""
    kinds = {change.kind for change in turn.plan.proposals[0]}
    return kinds <= set(ATTRIBUTES) and turn.kind != "also_part"


def judged(turn: Turn, plan: Plan | None, seen: Seen) -> dict:
    """Whether the intention is right, or, of a vague request, whether every proposal suits it."""
    asked = [change for changes in turn.plan.proposals for change in changes]
    row = {"unseen_pair": any(is_unseen(seen.family, change.value) for change in asked), "readable": plan is not None}
    if plan is None:
        return row | {"right": False, "answered": None}
    row["seen_right"] = {
        name: getattr(plan.seen, name, None) == getattr(seen, name)
        for name in ("family", "color", "part_color", "pattern")
    }
    row["seen_right"]["either"] = plan.seen is not None and plan.seen.color in (seen.color, seen.second)
    row["answered"] = [[f"{c.kind} {c.value}" for c in changes] for changes in plan.proposals]
    if not turn.is_vague:
        exact = plan.act == turn.plan.act and plan.proposals == turn.plan.proposals
        return row | {"exact": exact, "right": exact or either_colour(turn, plan, seen)}
    return row | {"right": valid(turn, plan), "some": any(valid(turn, plan, [made]) for made in plan.proposals)}


def either_colour(turn: Turn, plan: Plan, seen: Seen) -> bool:
    """Darker and lighter of a pattern: of either of its two colours, which of them is the main one nobody can see."""
    if turn.kind != "relative" or plan.seen is None or not seen.second:
        return False
    table = next(table for word, table in world.RELATIVE.items() if word in turn.request.split())
    meant = [table.get(color) for color in (seen.color, seen.second)]
    return [c.value for changes in plan.proposals for c in changes] in [[value] for value in meant]


def valid(turn: Turn, plan: Plan, proposals: list | None = None) -> bool:
    """Of a wish: whether proposals suit its mood and leave what is to stay; of all of them, too, that they are 2 to 4.

    Args:
        proposals: those to look at; None: all.
    """
    words = turn.request.split()
    suits = [suited for triggers, suited in world.MOODS.values() if any(word in words for word in triggers)]
    allowed = set(suits[0]) if suits else set(world.SURPRISE)
    keep = {"colour": "color", "pattern": "pattern"}.get(next((w for w in ("colour", "pattern") if w in words), ""), "")
    kept = KEPT.get(keep, ()) if turn.kind == "mood_keep" else ()
    made = [(c.kind, c.value) for changes in (plan.proposals if proposals is None else proposals) for c in changes]
    number = proposals is not None or 2 <= len(set(plan.proposals)) == len(plan.proposals) <= 4
    return plan.act == "wish" and number and all(pair in allowed and pair[0] not in kept for pair in made)


def looked_at(talk: Assistant, turn: Turn, clip: MiniClip, index: int) -> dict:
    """What came of the request: which proposals show what was asked, whether every word is true, what stayed."""
    before, family = talk.picture, turn.family
    answer = talk.ask(turn.request)
    row: dict = {"act": answer.act, "seconds": answer.seconds, "words": answer.words}
    if answer.act not in ("edit", "wish"):
        return row
    row["proposals"] = [proposal.words for proposal in answer.proposals]
    row["holds"] = [proposal.holds for proposal in answer.proposals]
    row["true"] = all(true_of(p.words, [p.picture]) for p in answer.proposals) and true_of(
        answer.words, [p.picture for p in answer.proposals]
    )
    raw = answer.plan.words if answer.plan else ""
    row["raw_true"] = true_of(raw, [p.picture for p in answer.proposals]) and all(row["holds"])
    row["second_opinion"] = [agrees(clip, p.picture, p.words, family) for p in answer.proposals]
    kept = [
        p for p in answer.proposals if not {c.kind for c in p.changes} & {"color", "pattern", "second", "background"}
    ]
    row["color_error"] = [error for p in kept if (error := color_error(before, p.picture, family)) is not None]
    truths = [(p, t) for p in answer.proposals if (t := truth(index, p.changes, before)) is not None]
    row["color_error_of_truth"] = [
        error for p, t in truths if p in kept and (error := color_error(before, t, family)) is not None
    ]
    row["pixels"] = [float((p.picture - t).square().mean().sqrt()) for p, t in truths]
    row["shared"] = [shared_colors(p.picture, t) for p, t in truths]
    row["outline"] = [overlap(foreground(p.picture), foreground(t)) for p, t in truths]
    shaped = [p for p in answer.proposals if not {c.kind for c in p.changes} & {"shape", "background"}]
    row["shape_error"] = [error for p in shaped if (error := shape_error(before, p.picture)) is not None]
    return row


def truth(index: int, changes: Sequence[Change], before: torch.Tensor) -> torch.Tensor | None:
    """The object of request `index` as it was asked for, on the ground and from the side of the picture given.

    None for changes of shape and of the ground, of which there is no one truth.
    """
    names = {"color": "main_color", "part": "part_color", "second": "second_color"}
    if not {change.kind for change in changes} <= {*names, "pattern", "material"}:
        return None
    (base, *_), shape, rng = group_specs(HELD_OUT_SEED, index)
    values = {name: getattr(base, name) for name in ("main_color", "part_color", "pattern", "second_color", "material")}
    values |= {names.get(change.kind, change.kind): change.value for change in changes}
    if values["pattern"] == "plain" or values["second_color"] in ("", values["main_color"]):
        values["second_color"] = None
    made = build(base.family, np.random.default_rng(shape), **values)
    return composite(look_at([made], rng), before[:, 0, 0][None])[0] / 2 + 0.5


def overlap(first: torch.Tensor, second: torch.Tensor) -> float:
    """Intersection over union of two outlines."""
    return float((first & second).sum() / (first | second).sum().clamp(min=1))


def true_of(words: str, pictures: list[torch.Tensor]) -> bool:
    """Whether every colour that is named is shown by one of the pictures."""
    said = words.split("not what", 1)[0]  # what follows says what is missing
    return all(any(shows_color(picture, color) for picture in pictures) for color in colors_in(said))


def agrees(clip: MiniClip, picture: torch.Tensor, words: str, family: str) -> bool | None:
    """Whether the CLIP judge names the colour that the words begin with among its two likeliest of the twelve."""
    named = colors_in(" ".join(words.split()[:2]))
    if not named:
        return None
    texts = clip.encode_text([f"a {color} {family}" for color in COLOR_NAMES])
    best = (clip.encode([picture]) @ texts.t())[0].topk(2).indices.tolist()
    return named[0] in [COLOR_NAMES[i] for i in best]


def color_error(before: torch.Tensor, after: torch.Tensor, family: str) -> float | None:
    """Distance of the main part's colour to what it was, in sRGB."""
    first, second = dominant_color(before, family), dominant_color(after, family)
    return None if first is None or second is None else float((first - second).norm())


def shape_error(before: torch.Tensor, after: torch.Tensor) -> float | None:
    """How much height over width changed: |log ratio|."""
    first, second = proportions(before), proportions(after)
    return None if first is None or second is None else abs(float(np.log(second / first)))


def summary(rows: list[dict]) -> dict:
    """The figures of one kind of request."""
    shown = [row for row in rows if "holds" in row]
    unseen = [row["right"] for row in rows if row["unseen_pair"]]

    def share(values: list) -> float | None:
        return round(sum(map(bool, values)) / len(values), 3) if values else None

    def flat(name: str) -> list:
        return [value for row in shown for value in row[name] if value is not None]

    def median(values: list[float]) -> float | None:
        return round(float(np.median(values)), 3) if values else None

    def mean(values: list[float]) -> float | None:
        return round(float(np.mean(values)), 3) if values else None

    return {
        "requests": len(rows),
        "right intention": share([row["right"] for row in rows]),
        "right intention, main colours told apart": share([row["exact"] for row in rows if "exact" in row]),
        "a valid proposal": share([row["some"] for row in rows if "some" in row]),
        "right intention, unseen pairs": f"{share(unseen)} of {len(unseen)}",
        "family read": share([row["seen_right"]["family"] for row in rows if row["readable"]]),
        "main colour read": share([row["seen_right"]["color"] for row in rows if row["readable"]]),
        "main colour, or that of the pattern": share([row["seen_right"]["either"] for row in rows if row["readable"]]),
        "colour of the part read": share([row["seen_right"]["part_color"] for row in rows if row["readable"]]),
        "pattern read": share([row["seen_right"]["pattern"] for row in rows if row["readable"]]),
        "answered with pictures": len(shown),
        "proposals that show what was asked": share(flat("holds")),
        "true words": share([row["true"] for row in shown]),
        "true words before they were held against the pictures": share([row["raw_true"] for row in shown]),
        "CLIP judge agrees with the colour named": share(flat("second_opinion")),
        "colour error of what was to stay": median(flat("color_error")),
        "the same of the true object": median(flat("color_error_of_truth")),
        "proposals of which the true object is known": len(flat("pixels")),
        "pixels' distance from the true object's picture": mean(flat("pixels")),
        "colours shared with it": mean(flat("shared")),
        "outline shared with it": mean(flat("outline")),
        "shape error of what was to stay": median(flat("shape_error")),
        "seconds": median([row["seconds"] for row in shown]),
        "wrong kinds": dict(Counter(row["kind"] for row in rows if not row["right"])),
    }


if __name__ == "__main__":
    tyro.cli(main)
