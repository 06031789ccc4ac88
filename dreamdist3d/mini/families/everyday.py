"""Ten everyday families: a function each from a sampler of parameters to coloured solids.

Objects stand on +z and face +x (azimuth 0 is the front).
"""

import numpy as np

from dreamdist3d.mini import shapes as s
from dreamdist3d.mini.families.spec import ObjectSpec, Sampler


def mushroom(spec: ObjectSpec, u: Sampler) -> None:
    height = u("stem_height", 0.35, 0.75, words=("short", "tall"), of_part=True)
    radius = u("stem_radius", 0.07, 0.17, words=("thin", "thick"), of_part=True)
    cap_radius = u("cap_radius", 0.32, 0.52, words=("narrow", "wide"))
    cap_height = u("cap_height", 0.16, 0.42, words=("flat", "pointed"))
    stem = [(0, 0), (radius * 1.25, 0), (radius, height * 0.4), (radius * 0.9, height), (0, height)]
    spec.second(s.lathe(stem))
    angles = np.linspace(0, np.pi / 2, 12)
    dome = [(cap_radius * np.cos(a), height + cap_height * np.sin(a)) for a in angles]
    underside = [(0, height - 0.02), (cap_radius * 0.9, height - 0.04)]
    spec.main(s.lathe([*underside, *dome[:-1], (0, height + cap_height)]))
    if u.chance("spots", 0.3, "spotted"):
        for turn in range(6):
            a = np.radians(62 if turn % 2 else 30)
            r = cap_radius * np.cos(a)
            spot = s.ball(0.085, (r, 0, height + cap_height * np.sin(a)), (1, 1, 0.7))
            spec.add((0.95, 0.95, 0.93), s.turned(spot, 60 * turn + 20))


def chair(spec: ObjectSpec, u: Sampler) -> None:
    leg = u("leg_length", 0.25, 0.5, words=("short", "long"), of_part=True)
    width = u("width", 0.42, 0.62, words=("narrow", "wide"))
    back = u("back_height", 0.3, 0.65, words=("low", "tall"))
    thick = u("leg_radius", 0.04, 0.065, words=("thin", "thick"), of_part=True)
    half = width / 2 - thick
    spec.main(s.box((width, width, 0.09), (0, 0, leg)))
    spec.main(s.box((0.09, width, back), (-width / 2 + 0.045, 0, leg + back / 2)))
    for sx in (-1, 1):
        for sy in (-1, 1):
            spec.second(s.rod((sx * half, sy * half, 0), (sx * half, sy * half, leg), thick))
    if u.chance("arms", 0.35):
        for sy in (-1, 1):
            spec.second(s.box((width * 0.9, 0.06, 0.06), (0, sy * (width / 2 - 0.03), leg + 0.22)))
            spec.second(s.box((0.06, 0.06, 0.22), (width * 0.4, sy * (width / 2 - 0.03), leg + 0.11)))


def table(spec: ObjectSpec, u: Sampler) -> None:
    height = u("height", 0.3, 0.62, words=("low", "tall"))
    width = u("width", 0.55, 0.95)
    thick = u("leg_radius", 0.04, 0.075, words=("thin", "thick"), of_part=True)
    if u.chance("round", 0.5, "round"):
        spec.main(s.rod((0, 0, height), (0, 0, height + 0.08), width * 0.5))
        reach = width * 0.3
    else:
        spec.main(s.box((width * 0.75, width, 0.08), (0, 0, height + 0.04)))
        reach = width * 0.31
    for sx in (-1, 1):
        for sy in (-1, 1):
            spec.second(s.rod((sx * reach, sy * reach, 0), (sx * reach, sy * reach, height), thick))


def mug(spec: ObjectSpec, u: Sampler) -> None:
    height = u("height", 0.45, 0.8, words=("short", "tall"))
    radius = u("radius", 0.22, 0.36, words=("narrow", "wide"))
    size = u("handle", 0.12, 0.2, words=("small", "big"), of_part=True)
    wall = 0.04
    outer = [(0, 0), (radius * 0.92, 0), (radius, height * 0.1), (radius, height)]
    inner = [(radius - wall, height), (radius - wall, 0.06), (0, 0.06)]
    spec.main(s.lathe(outer + inner))
    spec.second(s.ring(size, 0.042, (0, radius + size * 0.55, height * 0.5), "x"))


def house(spec: ObjectSpec, u: Sampler) -> None:
    depth = u("depth", 0.5, 0.7)
    width = u("width", 0.5, 0.85, words=("narrow", "wide"))
    wall = u("wall_height", 0.3, 0.5, words=("low", "tall"))
    roof = u("roof_height", 0.16, 0.45, words=("flat", "pointed"), of_part=True)
    spec.main(s.box((depth, width, wall), (0, 0, wall / 2)))
    spec.second(s.gable((depth * 1.2, width * 1.12, roof), (0, 0, wall)))
    spec.add((0.25, 0.14, 0.08), s.box((0.05, 0.16, wall * 0.66), (depth / 2, 0, wall * 0.33)))
    for sy in (-1, 1):
        spec.add((0.75, 0.88, 0.95), s.box((0.04, 0.13, 0.14), (depth / 2, sy * width * 0.34, wall * 0.58)))
        spec.add((0.75, 0.88, 0.95), s.box((0.18, 0.04, 0.15), (0, sy * width / 2, wall * 0.56)))
    if u.chance("chimney", 0.5):
        stack = s.box((0.11, 0.11, roof * 0.8 + 0.12), (-depth * 0.25, width * 0.25, wall + roof * 0.5))
        spec.second(stack)


def rocket(spec: ObjectSpec, u: Sampler) -> None:
    length = u("length", 0.6, 0.95, words=("short", "tall"))
    radius = u("radius", 0.12, 0.22, words=("thin", "fat"))
    nose = u("nose", 0.2, 0.4)
    fin = u("fin", 0.14, 0.26, words=("small", "big"), of_part=True)
    spec.main(s.lathe([(0, 0.08), (radius * 0.75, 0.08), (radius, 0.3), (radius, length), (0, length)]))
    cone = [(0, length), (radius, length), (radius * 0.72, length + nose * 0.5), (0, length + nose)]
    spec.second(s.lathe(cone))
    tip = radius + fin
    blade = s.plate([(radius * 0.6, 0, 0.12), (radius * 0.9, 0, 0.42), (tip, 0, 0.14), (tip, 0, -0.04)], 0.06)
    spec.second(*(s.turned(blade, 45 + 90 * k) for k in range(4)))
    spec.add((0.80, 0.92, 0.97), s.ball(radius * 0.42, (radius * 0.86, 0, length * 0.72), (0.5, 1, 1)))


def tree(spec: ObjectSpec, u: Sampler) -> None:
    trunk = u("trunk_height", 0.2, 0.5, words=("short", "tall"), of_part=True)
    radius = u("trunk_radius", 0.05, 0.1, words=("thin", "thick"), of_part=True)
    crown = u("crown_radius", 0.26, 0.42, words=("narrow", "wide"))
    if u.chance("conifer", 0.5, "pointed"):
        for layer in range(3):
            low = trunk + layer * crown * 0.55
            r = crown * (1 - 0.25 * layer)
            spec.main(s.lathe([(0, low), (r, low), (0, low + crown * 1.05)]))
        top = trunk + 0.1
    else:
        spec.shape_words.append("round")
        tall = u("crown_stretch", 0.85, 1.25)
        spec.main(s.ball(crown, (0, 0, trunk + crown * tall * 0.8), (1, 1, tall)))
        top = trunk + crown * 0.3
    spec.second(s.rod((0, 0, 0), (0, 0, top), radius))


def lamp(spec: ObjectSpec, u: Sampler) -> None:
    height = u("pole_height", 0.35, 0.75, words=("short", "tall"), of_part=True)
    pole = u("pole_radius", 0.03, 0.055, words=("thin", "thick"), of_part=True)
    bottom = u("shade_bottom", 0.24, 0.38, words=("narrow", "wide"))
    top = u("shade_top", 0.08, 0.22)
    shade = u("shade_height", 0.22, 0.38, words=("low", "tall"))
    spec.second(s.rod((0, 0, 0), (0, 0, 0.06), 0.2), s.rod((0, 0, 0.05), (0, 0, height + 0.05), pole))
    spec.main(s.lathe([(0, height), (bottom, height), (top, height + shade), (0, height + shade)]))


def snowman(spec: ObjectSpec, u: Sampler) -> None:
    base = u("base_radius", 0.26, 0.36, words=("thin", "fat"))
    head = u("head_radius", 0.14, 0.2, words=("small", "big"))
    hat = u("hat_height", 0.12, 0.28, words=("short", "tall"), of_part=True)
    middle, neck = base * 0.74, base * 1.7
    face = neck + middle * 0.75 + head * 0.8
    spec.main(s.ball(base, (0, 0, base)), s.ball(middle, (0, 0, neck)), s.ball(head, (0, 0, face)))
    spec.second(s.rod((0, 0, face + head * 0.75), (0, 0, face + head * 0.75 + 0.03), head * 1.35))
    spec.second(s.rod((0, 0, face + head * 0.75), (0, 0, face + head * 0.75 + hat), head * 0.85))
    spec.add((0.97, 0.5, 0.06), s.rod((head * 0.8, 0, face), (head * 1.8, 0, face), 0.045))
    eyes = [s.ball(0.042, (head * 0.86, sy * 0.07, face + 0.06)) for sy in (-1, 1)]
    buttons = [s.ball(0.045, (middle * 0.95, 0, neck + dz)) for dz in (-0.06, 0.08)]
    spec.add((0.1, 0.1, 0.1), *eyes, *buttons)


def car(spec: ObjectSpec, u: Sampler) -> None:
    length = u("length", 0.75, 1.0, words=("short", "long"))
    body = u("body_height", 0.16, 0.26, words=("low", "tall"))
    cabin = u("cabin_length", 0.35, 0.55)
    radius = u("wheel_radius", 0.1, 0.16, words=("small", "big"), of_part=True)
    width, floor = 0.42, radius * 0.9
    spec.main(s.box((length, width, body), (0, 0, floor + body / 2)))
    spec.main(s.box((length * cabin, width * 0.86, 0.04), (-length * 0.08, 0, floor + body + 0.16)))
    windows = s.box((length * cabin * 0.94, width * 0.82, 0.16), (-length * 0.08, 0, floor + body + 0.07))
    spec.add((0.72, 0.88, 0.96), windows)
    for sx in (-1, 1):
        for sy in (-1, 1):
            spec.second(s.wheel(radius, 0.13, (sx * length * 0.3, sy * width / 2, radius)))
    lights = [s.ball(0.045, (length / 2, sy * width * 0.32, floor + body * 0.6), (0.5, 1, 1)) for sy in (-1, 1)]
    spec.add((1.0, 0.95, 0.55), *lights)
