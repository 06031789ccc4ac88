"""The caption grammar: family, colours, pattern, material and shape words."""

from collections.abc import Iterator

import numpy as np

from dreamdist3d.mini.families import FAMILIES, ObjectSpec
from dreamdist3d.mini.palette import COLOR_NAMES
from dreamdist3d.mini.surface import MATERIALS, PATTERNS

CAPTIONS_PER_OBJECT = 4
VIEW_NAMES = ("front", "side", "back", "overhead")
SHAPE_WORDS = (
    "short",
    "tall",
    "thin",
    "thick",
    "narrow",
    "wide",
    "flat",
    "pointed",
    "spotted",
    "low",
    "long",
    "round",
    "small",
    "big",
    "fat",
)


BACKGROUND_NAMES = ("plain", "gradient", "textured")


def captions(spec: ObjectSpec, rng: np.random.Generator) -> list[str]:
    """`CAPTIONS_PER_OBJECT` sentences about one object, from the fullest to the bare family name.

    A pattern is always named in the first two; that there is none ("plain"), and that the material is matt, is
    said half the time only, since most people leave it out.
    """
    shape = str(rng.choice(spec.shape_words)) if spec.shape_words else ""
    part_shape = str(rng.choice(spec.part_words)) if spec.part_words else ""
    said = rng.random(3) < 0.5
    pattern = "" if spec.pattern == "plain" and not said[0] else spec.pattern
    material = "" if spec.material == "matt" and not said[1] else spec.material
    second = f" and {spec.second_color}" if spec.second_color else ""
    colors = f"{spec.main_color}{second}"
    part = _phrase(part_shape, spec.part_color, spec.part, plural=spec.part_is_plural)
    some = (spec.material if said[2] else "") if spec.material != "matt" else ""
    return [
        f"{_phrase(shape, material, pattern, colors, spec.family)} with {part}",
        f"{_phrase(spec.pattern if second else '', colors, spec.family)} with {part}",
        _phrase(shape, some, spec.main_color, spec.family),
        _phrase("", "", spec.family),
    ]


def view_suffix(azimuth_deg: float) -> str:
    """The words ", front view" and their kin, for an azimuth (0 = front, +x) rounded to the nearest quadrant."""
    quadrant = int(((azimuth_deg + 45.0) % 360.0) // 90.0)
    return f", {('front', 'side', 'back', 'side')[quadrant]} view"


def background_suffix(kind: str) -> str:
    """The words that tell a background (`BACKGROUND_NAMES`) apart; a plain one goes without saying."""
    return "" if kind == "plain" else f", {kind} background"


def corpus() -> Iterator[str]:
    """Every word of the grammar at least once: what the tokenizer is trained on."""
    for family, kind in FAMILIES.items():
        for color in COLOR_NAMES:
            yield f"a photo of an {color} and {color} {family} with a {color} {kind.part}"
    for word in SHAPE_WORDS:
        yield f"a {word} object"
    for view in VIEW_NAMES:
        yield f"one object, {view} view"
    for name in (*PATTERNS, *MATERIALS):
        yield f"a {name} object"
    for name in BACKGROUND_NAMES:
        yield f"one object, {name} background"
    yield "ugly, blurry, bad, dark, low quality, picture of the render of many"


def _phrase(*words: str, plural: bool = False) -> str:
    text = " ".join(word for word in words if word)
    if plural:
        return text
    return f"{'an' if text[0] in 'aeiou' else 'a'} {text}"
