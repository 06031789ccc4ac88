"""Ten families with more structure: a function each from a sampler of parameters to coloured solids.

Objects stand on +z and face +x (azimuth 0 is the front).
"""

import numpy as np

from dreamdist3d.mini import shapes as s
from dreamdist3d.mini.families.spec import ObjectSpec, Sampler

_WOOD, _DARK, _GLASS = (0.42, 0.26, 0.13), (0.12, 0.11, 0.12), (0.98, 0.90, 0.55)
_LEAF, _BEAK = (0.16, 0.50, 0.18), (0.97, 0.60, 0.08)


def boat(spec: ObjectSpec, u: Sampler) -> None:
    length = u("length", 0.75, 1.0, words=("short", "long"))
    depth = u("hull_depth", 0.16, 0.26, words=("flat", "tall"))
    mast = u("mast_height", 0.55, 0.8)
    sail = u("sail_width", 0.26, 0.42, words=("narrow", "wide"), of_part=True)
    deck, keel = np.array([[1.0, 0], [0.45, 0.5], [-0.5, 0.5], [-0.85, 0.3]]), 0.62
    rim = np.concatenate([deck, deck * [1, -1]]) * [length / 2, 0.38]
    hull = [(x, y, depth) for x, y in rim] + [(x * keel, y * keel, 0.0) for x, y in rim]
    spec.main(s.hull(hull))
    spec.add(_WOOD, s.rod((0.04, 0, depth - 0.02), (0.04, 0, depth + mast), 0.03))
    low, high = depth + 0.1, depth + mast * 0.97
    spec.second(s.plate([(0.0, 0, low), (-sail, 0, low), (0.0, 0, high)], 0.05))
    if u.chance("jib", 0.6):
        spec.second(s.plate([(0.09, 0, low), (0.09 + sail * 0.75, 0, low), (0.09, 0, high * 0.92)], 0.05))


def teapot(spec: ObjectSpec, u: Sampler) -> None:
    radius = u("radius", 0.28, 0.36, words=("thin", "fat"))
    tall = u("stretch", 0.7, 1.05, words=("low", "tall"))
    spout = u("spout", 0.2, 0.32, words=("short", "long"))
    knob = u("knob", 0.045, 0.085, words=("small", "big"), of_part=True)
    middle = radius * tall
    spec.main(s.ball(radius, (0, 0, middle), (1, 1, tall)), s.rod((0, 0, 0), (0, 0, 0.05), radius * 0.6))
    spec.main(s.cone((0, radius * 0.75, middle * 0.85), (0, radius + spout, middle * 1.65), 0.1, 0.05))
    spec.main(s.ring(middle * 0.52, 0.042, (0, -radius * 1.02, middle * 1.05), "x"))
    top = middle * 2
    spec.second(s.rod((0, 0, top - 0.05), (0, 0, top + 0.02), radius * 0.56))
    spec.second(s.ball(knob, (0, 0, top + knob * 0.9)))


def tower(spec: ObjectSpec, u: Sampler) -> None:
    height = u("height", 0.6, 0.95, words=("short", "tall"))
    radius = u("radius", 0.2, 0.3, words=("thin", "fat"))
    top = u("top_height", 0.22, 0.4, words=("low", "tall"), of_part=True)
    spec.main(s.lathe([(0, 0), (radius * 1.12, 0), (radius, height * 0.2), (radius, height), (0, height)]))
    if u.chance("pointed", 0.5, "pointed"):
        spec.second(s.lathe([(0, height), (radius * 1.3, height), (0, height + top * 1.2)]))
    else:
        spec.shape_words.append("flat")
        spec.second(s.rod((0, 0, height), (0, 0, height + 0.08), radius * 1.25))
        tooth = s.box((0.12, 0.12, 0.12), (radius * 1.12, 0, height + 0.13))
        spec.second(*(s.turned(tooth, 60 * k) for k in range(6)))
    spec.add(_WOOD, s.box((0.07, 0.17, height * 0.34), (radius * 1.02, 0, height * 0.17)))
    window = s.box((0.06, 0.09, 0.13), (radius * 0.99, 0, height * 0.68))
    spec.add(_DARK, *(s.turned(window, 90 * k) for k in range(4)))


def bird(spec: ObjectSpec, u: Sampler) -> None:
    body = u("body_radius", 0.2, 0.28, words=("thin", "fat"))
    length = u("body_length", 1.25, 1.6)
    head = u("head_radius", 0.12, 0.17, words=("small", "big"))
    wing = u("wing_length", 0.26, 0.42, words=("short", "long"), of_part=True)
    legs = 0.18
    middle = legs + body * 0.9
    face = (body * length * 0.85, middle + body * 0.95)
    spec.main(s.ball(body, (0, 0, middle), (length, 1, 0.95)), s.ball(head, (face[0], 0, face[1])))
    spec.main(s.plate([(-body, 0, middle - 0.06), (-body, 0, middle + 0.1), (-body * 2.2, 0, middle + 0.22)], 0.16))
    for sy in (-1, 1):
        spec.second(s.ball(wing / 2, (-0.06, sy * (body * 0.95), middle + 0.05), (1.15, 0.28, 0.55)))
        spec.add(_DARK, s.ball(0.035, (face[0] + head * 0.6, sy * head * 0.72, face[1] + 0.04)))
        spec.add(_BEAK, s.rod((0, sy * 0.08, 0.02), (0, sy * 0.08, middle - body * 0.6), 0.03))
        spec.add(_BEAK, s.box((0.15, 0.08, 0.035), (0.03, sy * 0.08, 0.018)))
    spec.add(_BEAK, s.cone((face[0] + head * 0.8, 0, face[1]), (face[0] + head * 1.9, 0, face[1] - 0.02), 0.06, 0.012))


def flowerpot(spec: ObjectSpec, u: Sampler) -> None:
    height = u("pot_height", 0.3, 0.45, words=("low", "tall"))
    radius = u("pot_radius", 0.22, 0.32, words=("narrow", "wide"))
    stem = u("stem_height", 0.25, 0.45, words=("short", "tall"), of_part=True)
    bloom = u("bloom", 0.1, 0.15, words=("small", "big"), of_part=True)
    rim = [(radius * 1.12, height * 0.78), (radius * 1.12, height), (0, height)]
    spec.main(s.lathe([(0, 0), (radius * 0.68, 0), (radius * 0.95, height * 0.78), *rim]))
    spec.add((0.25, 0.16, 0.10), s.rod((0, 0, height - 0.01), (0, 0, height + 0.02), radius * 0.95))
    for turn, rise in ((0, 1.0), (120, 0.72), (240, 0.85)):
        lean = radius * 0.75
        top = height + stem * rise
        stalk = s.rod((radius * 0.2, 0, height), (lean, 0, top), 0.028)
        petals = s.ball(bloom, (lean, 0, top), (1, 1, 0.62))
        heart = s.ball(bloom * 0.45, (lean, 0, top + bloom * 0.42))
        spec.add(_LEAF, s.turned(stalk, turn + 20))
        spec.second(s.turned(petals, turn + 20))
        spec.add((0.98, 0.85, 0.2), s.turned(heart, turn + 20))


def sword(spec: ObjectSpec, u: Sampler) -> None:
    blade = u("blade_length", 0.6, 0.9, words=("short", "long"))
    width = u("blade_width", 0.14, 0.24, words=("thin", "wide"))
    guard = u("guard_width", 0.36, 0.56, words=("narrow", "wide"), of_part=True)
    grip = u("grip_length", 0.18, 0.28)
    low, high = grip + 0.05, grip + blade
    shoulder = high - width * 0.9
    flat: list[tuple[float, float, float]] = [
        (0, -width / 2, low),
        (0, width / 2, low),
        (0, width / 2, shoulder),
        (0, -width / 2, shoulder),
        (0, 0, high),
    ]
    spec.main(s.hull([(sx * 0.055, y * 0.55, z) for sx in (-1, 1) for _, y, z in flat[:4]] + flat))
    spec.second(s.box((0.15, guard, 0.08), (0, 0, grip + 0.03)))
    spec.second(s.ball(0.095, (0, 0, -0.02)))
    spec.add(_WOOD, s.rod((0, 0, 0), (0, 0, grip), 0.06))


def barrel(spec: ObjectSpec, u: Sampler) -> None:
    height = u("height", 0.7, 1.0, words=("short", "tall"))
    radius = u("radius", 0.22, 0.32, words=("thin", "fat"))
    belly = u("belly", 1.1, 1.35, words=("flat", "round"))
    hoop = u("hoop_height", 0.05, 0.1, words=("thin", "thick"), of_part=True)

    def girth(z: float) -> float:
        return radius * (1 + (belly - 1) * (1 - (2 * z / height - 1) ** 2))

    levels = np.linspace(0, height, 11)
    side = [(girth(z), z) for z in levels]
    lid = [(girth(height) * 0.86, height), (girth(height) * 0.86, height - 0.04), (0, height - 0.04)]
    spec.main(s.lathe([(0, 0), *side, *lid]))
    for place in (0.14, 0.36, 0.64, 0.86):
        z = place * height
        outer = [(girth(z - hoop / 2) + 0.022, z - hoop / 2), (girth(z + hoop / 2) + 0.022, z + hoop / 2)]
        spec.second(s.lathe([(0, z - hoop / 2), *outer, (0, z + hoop / 2)]))


def lantern(spec: ObjectSpec, u: Sampler) -> None:
    height = u("glass_height", 0.3, 0.5, words=("low", "tall"))
    radius = u("glass_radius", 0.18, 0.26, words=("narrow", "wide"))
    roof = u("roof_height", 0.12, 0.26, words=("flat", "pointed"))
    bar = u("bar_radius", 0.028, 0.05, words=("thin", "thick"), of_part=True)
    base = 0.1
    spec.second(s.box((radius * 2.3, radius * 2.3, base), (0, 0, base / 2)))
    spec.main(s.box((radius * 1.75, radius * 1.75, height), (0, 0, base + height / 2)))
    for sx in (-1, 1):
        for sy in (-1, 1):
            corner = (sx * radius * 0.95, sy * radius * 0.95)
            spec.second(s.rod((*corner, base / 2), (*corner, base + height + 0.02), bar))
    top = base + height
    spec.second(s.pyramid((radius * 2.5, radius * 2.5, roof), (0, 0, top)))
    spec.second(s.ring(0.085, 0.03, (0, 0, top + roof + 0.07), "x"))


def fish(spec: ObjectSpec, u: Sampler) -> None:
    length = u("length", 0.34, 0.44, words=("short", "long"))
    height = u("height", 0.55, 0.85, words=("thin", "fat"))
    thick = u("thickness", 0.42, 0.6)
    tail = u("tail", 0.2, 0.32, words=("small", "big"), of_part=True)
    spec.main(s.ball(length, (0, 0, 0), (1, thick, height)))
    back = -length * 0.85
    spec.second(s.plate([(back, 0, 0.05), (back, 0, -0.05), (back - tail, 0, tail), (back - tail, 0, -tail)], 0.08))
    top = length * height
    spec.second(s.plate([(0.12, 0, top * 0.85), (-0.16, 0, top * 0.8), (-0.2, 0, top + tail * 0.6)], 0.07))
    for sy in (-1, 1):
        side = sy * length * thick
        spec.second(s.ball(tail * 0.45, (0.02, side * 1.02, -0.05), (1.2, 0.3, 0.6)))
        eye = (length * 0.62, side * 0.76, length * height * 0.2)
        spec.add((0.97, 0.97, 0.97), s.ball(0.062, eye))
        spec.add(_DARK, s.ball(0.04, (eye[0] + 0.025, eye[1] + sy * 0.035, eye[2])))


def cake(spec: ObjectSpec, u: Sampler) -> None:
    radius = u("radius", 0.34, 0.46, words=("narrow", "wide"))
    tier = u("tier_height", 0.16, 0.26, words=("low", "tall"))
    icing = u("icing_height", 0.05, 0.09, words=("thin", "thick"), of_part=True)
    z = 0.0
    for size in (1.0, 0.66) if u.chance("tiers", 0.6) else (1.0,):
        r = radius * size
        spec.main(s.rod((0, 0, z), (0, 0, z + tier), r))
        spec.second(s.rod((0, 0, z + tier - 0.01), (0, 0, z + tier + icing), r * 1.06))
        z += tier + icing - 0.01
    if u.chance("candles", 0.5):
        for turn in range(4):
            candle = s.rod((r * 0.55, 0, z), (r * 0.55, 0, z + 0.15), 0.032)
            flame = s.ball(0.038, (r * 0.55, 0, z + 0.18), (1, 1, 1.4))
            spec.add((0.97, 0.95, 0.88), s.turned(candle, 90 * turn + 30))
            spec.add((0.99, 0.72, 0.1), s.turned(flame, 90 * turn + 30))
    else:
        spec.add((0.80, 0.05, 0.12), s.ball(0.085, (0, 0, z + 0.06)))
