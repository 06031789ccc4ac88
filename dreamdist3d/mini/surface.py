"""Paint and light of the miniature world: patterns in the object's own coordinates, three materials.

Light and highlights are fixed in the world and do not follow the camera, so that four views of an object
agree on the colour of every point, as they do in what a lift can represent.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

PATTERNS = ("plain", "striped", "dotted", "checked", "two-tone")
MATERIALS = ("matt", "glossy", "metallic")

_AMBIENT = 0.62
_LIGHTS = (((0.5, -0.6, 0.8), 0.34), ((0.6, 0.7, 0.1), 0.10))  # direction, strength
_LAMPS_DEG = (20.0, 110.0, 200.0, 290.0)  # azimuths of the highlights: one or two are seen from anywhere
_LAMP = 1.6  # their distance; near enough to move a highlight across a flat face
_DOT_SHARE = 0.31  # a dot's radius, of the spacing


@dataclass(frozen=True)
class Paint:
    """Colour of one solid: `rgb`, and over it a `pattern` of `second_rgb` (sRGB in [0, 1]).

    `period` is the length after which the pattern repeats, `axis` (0, 1, 2) the direction of stripes and of the
    split of two tones, `shift` [3] the pattern's place; all in units of the finished object (radius 0.5).
    """

    rgb: tuple[float, float, float] = (0.0, 0.0, 0.0)
    second_rgb: tuple[float, float, float] = (0.0, 0.0, 0.0)
    pattern: str = "plain"
    material: str = "matt"
    period: float = 0.2
    axis: int = 2
    shift: tuple[float, float, float] = (0.0, 0.0, 0.0)

    def second(self, points: np.ndarray, normals: np.ndarray) -> np.ndarray:
        """Where the second colour shows: bool [P], for points and unit normals [P, 3] (`points` from the middle)."""
        cells = (points + self.shift) / self.period
        if self.pattern == "two-tone":
            return points[:, self.axis] < 0
        if self.pattern == "striped":
            return np.floor(2 * cells[:, self.axis]) % 2 == 1
        if self.pattern == "checked":
            return np.floor(2 * cells).sum(axis=1) % 2 == 1
        if self.pattern == "dotted":
            return _dots(cells, normals)
        return np.zeros(len(points), dtype=bool)


def _dots(cells: np.ndarray, normals: np.ndarray) -> np.ndarray:
    """Discs on a staggered grid of the plane that faces the surface most directly."""
    facing = np.abs(normals).argmax(axis=1)
    plane = np.array([(1, 2), (0, 2), (0, 1)])[facing]  # [P, 2]
    u, v = np.take_along_axis(cells, plane, axis=1).T
    u = u + 0.5 * (np.floor(v) % 2)
    return np.hypot(u % 1 - 0.5, v % 1 - 0.5) < _DOT_SHARE


class Surface:
    """The look of a whole object: which paint each face has, and the light on it."""

    def __init__(self, paints: Sequence[Paint], paint_of_face: np.ndarray, middle: np.ndarray) -> None:
        self.paints, self.paint_of_face, self.middle = list(paints), paint_of_face, np.asarray(middle)

    def albedo(self, points: np.ndarray, normals: np.ndarray, faces: np.ndarray) -> np.ndarray:
        """Unlit colours [P, 3] in [0, 1] of points on the given faces."""
        return self._looked_up(points, normals, faces)[0]

    def shade(self, points: np.ndarray, normals: np.ndarray, faces: np.ndarray) -> np.ndarray:
        """Lit colours [P, 3] in [0, 1] of points on the given faces."""
        colors, materials = self._looked_up(points, normals, faces)
        light = np.full(len(points), _AMBIENT)
        for direction, strength in _LIGHTS:
            unit = np.asarray(direction) / np.linalg.norm(direction)
            light += strength * np.clip(normals @ unit, 0.0, None)
        glossy, metallic = materials == 1, materials == 2
        light[metallic] *= _streaks(points[metallic], normals[metallic])
        lit = colors * light[:, None]
        lit[glossy] += 0.75 * _highlights(points[glossy], normals[glossy], 45.0)[:, None]
        lit[metallic] += 0.35 * _highlights(points[metallic], normals[metallic], 14.0)[:, None]
        return np.clip(lit, 0.0, 1.0).astype(np.float32)

    def _looked_up(self, points: np.ndarray, normals: np.ndarray, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        which = self.paint_of_face[faces]
        colors, materials = np.empty((len(points), 3)), np.empty(len(points), dtype=int)
        for index in np.unique(which):
            paint, here = self.paints[index], which == index
            second = paint.second(points[here] - self.middle, normals[here])
            colors[here] = np.where(second[:, None], paint.second_rgb, paint.rgb)
            materials[here] = MATERIALS.index(paint.material)
        return colors, materials


def _highlights(points: np.ndarray, normals: np.ndarray, sharpness: float) -> np.ndarray:
    """Blinn's highlights of lamps around the object, each seen by an eye beside it: [P] in [0, 1]."""
    total = np.zeros(len(points))
    for azimuth in np.radians(_LAMPS_DEG):
        around = np.array([np.cos(azimuth), np.sin(azimuth), 0.0])
        toward = _unit(_LAMP * (around + [0, 0, 1.1]) - points) + _unit(2.0 * around + [0, 0, 0.3] - points)
        total += np.clip((normals * _unit(toward)).sum(axis=1), 0.0, None) ** sharpness
    return np.clip(total, 0.0, 1.0)


def _streaks(points: np.ndarray, normals: np.ndarray) -> np.ndarray:
    """Bright and dark bands, as a polished body mirrors a room: factors [P] between 0.45 and 1.45."""
    turned = _unit(normals + 0.5 * points)
    azimuth = np.arctan2(turned[:, 1], turned[:, 0])
    return 0.95 + 0.5 * np.cos(4.0 * azimuth + 6.0 * turned[:, 2])


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
