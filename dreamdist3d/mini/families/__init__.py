"""The twenty object families: continuous shape parameters and paint in, coloured solids out.

Objects stand on +z and face +x (azimuth 0 is the front). A family function fills an `ObjectSpec`;
`build` draws one and scales it into the sphere of radius 0.5 around the origin.
"""

import numpy as np

from dreamdist3d.mini.families import built, everyday
from dreamdist3d.mini.families.spec import OBJECT_RADIUS, Family, ObjectSpec, Sampler
from dreamdist3d.mini.palette import COLOR_NAMES, other_than, shade_of
from dreamdist3d.mini.surface import MATERIALS, PATTERNS, Paint

__all__ = ["FAMILIES", "OBJECT_RADIUS", "Family", "ObjectSpec", "build"]

FAMILIES: dict[str, Family] = {
    "mushroom": Family(everyday.mushroom, "stem", False, (0.0, 0.45), "xyz"),
    "chair": Family(everyday.chair, "legs", True, (0.0, 0.6), "y"),
    "table": Family(everyday.table, "legs", True, (0.0, 0.35), "xy"),
    "mug": Family(everyday.mug, "handle", False, (0.0, 1.0)),
    "house": Family(everyday.house, "roof", False, (0.5, 1.0)),
    "rocket": Family(everyday.rocket, "fins", True, (0.25, 0.75)),
    "tree": Family(everyday.tree, "trunk", False, (0.0, 0.6)),
    "lamp": Family(everyday.lamp, "pole", False, (0.0, 0.4)),
    "snowman": Family(everyday.snowman, "hat", False, (0.4, 1.0)),
    "car": Family(everyday.car, "wheels", True, (0.3, 0.8), "x"),
    "boat": Family(built.boat, "sail", False, (0.7, 1.0), "xz"),
    "teapot": Family(built.teapot, "lid", False, (0.25, 1.0)),
    "tower": Family(built.tower, "top", False, (0.35, 1.0)),
    "bird": Family(built.bird, "wings", True, (0.0, 0.8), "x"),
    "flowerpot": Family(built.flowerpot, "flowers", True, (0.6, 1.0)),
    "sword": Family(built.sword, "guard", False, (0.0, 0.6)),
    "barrel": Family(built.barrel, "hoops", True, (0.0, 1.0)),
    "lantern": Family(built.lantern, "frame", False, (0.35, 0.8)),
    "fish": Family(built.fish, "fins", True, (0.2, 0.8), "x"),
    "cake": Family(built.cake, "icing", False, (0.2, 1.0)),
}

_PATTERN_ODDS = (0.44, 0.14, 0.14, 0.14, 0.14)
_MATERIAL_ODDS = (0.5, 0.25, 0.25)
_PERIOD = (0.19, 0.27)


def build(
    family: str,
    rng: np.random.Generator,
    main_color: str | None = None,
    pattern: str | None = None,
    material: str | None = None,
    part_color: str | None = None,
    second_color: str | None = None,
) -> ObjectSpec:
    """Draw one object of a family.

    With `main_color` given, a generator's state is one shape, whatever else is asked for.

    Args:
        family: a key of `FAMILIES`.
        rng: the only source of randomness.
        main_color, pattern, material: a palette name, one of `PATTERNS`, one of `MATERIALS`; None for a draw.
        part_color, second_color: palette names, of the second part and of the pattern; None for a draw.

    Raises:
        KeyError: an unknown family, colour, pattern or material.
    """
    kind = FAMILIES[family]
    main = main_color or str(rng.choice(COLOR_NAMES))
    drawn = other_than(main, rng)
    spec = ObjectSpec(family, main, part_color or drawn, kind.part, kind.part_is_plural)
    spec.main_rgb, spec.part_rgb = shade_of(main, rng), shade_of(spec.part_color, rng)
    _paint(spec, kind, rng, pattern, material, second_color)
    kind.fill(spec, Sampler(rng, spec))
    return spec


def _paint(
    spec: ObjectSpec,
    kind: Family,
    rng: np.random.Generator,
    pattern: str | None,
    material: str | None,
    second_color: str | None,
) -> None:
    # Drawn whether asked for or not, so that the shape behind a seed does not depend on what was asked.
    drawn = str(rng.choice(PATTERNS, p=_PATTERN_ODDS)), str(rng.choice(MATERIALS, p=_MATERIAL_ODDS))
    second, period, shift = other_than(spec.main_color, rng), rng.uniform(*_PERIOD), rng.uniform(0, 1, 3)
    second = second_color or second
    axis, second_rgb = str(rng.choice(list(kind.axes))), shade_of(second, rng)
    spec.pattern, spec.material = pattern or drawn[0], material or drawn[1]
    for value, known in ((spec.pattern, PATTERNS), (spec.material, MATERIALS)):
        if value not in known:
            raise KeyError(value)
    if spec.pattern != "plain":
        spec.second_color, spec.second_rgb = second, second_rgb
        spec.attributes["period"] = float(period)
    shifts = float(shift[0]), float(shift[1]), float(shift[2])
    spec.main_paint = Paint(
        spec.main_rgb, second_rgb, spec.pattern, spec.material, float(period), "xyz".index(axis), shifts
    )
