"""Between the field's world (z up, front +x) and glTF's (+Y up, front +Z); both right-handed."""

from dataclasses import dataclass

import numpy as np

_TO_GLTF = [1, 2, 0]  # world (x, y, z) -> glTF (y, z, x)
_TO_WORLD = [2, 0, 1]


def to_gltf(vectors: np.ndarray) -> np.ndarray:
    """World [N, 3] -> glTF [N, 3]."""
    return vectors[:, _TO_GLTF]


def to_world(vectors: np.ndarray) -> np.ndarray:
    """glTF [N, 3] -> world [N, 3]."""
    return vectors[:, _TO_WORLD]


@dataclass(frozen=True)
class Placement:
    """Where a thing in world axes stands in its file: glTF axes, scaled, the base's centre at the origin."""

    base: np.ndarray  # [3], glTF axes, before scaling
    scale: float = 1.0

    def points(self, world: np.ndarray) -> np.ndarray:
        """[N, 3] -> [N, 3]."""
        return (to_gltf(world) - self.base) * self.scale


def placement(vertices: np.ndarray, height: float | None = None, metres: float = 1.0) -> Placement:
    """Centre [V, 3] world vertices in the ground plane and stand them on it, `height` metres tall if that is given.

    Without a height, one unit is `metres` long.

    Raises:
        ValueError: a height is asked of something flat.
    """
    points = to_gltf(vertices)
    low, high = points.min(axis=0), points.max(axis=0)
    base = np.array([(low[0] + high[0]) / 2, low[1], (low[2] + high[2]) / 2])
    if height is None:
        return Placement(base, metres)
    if not high[1] > low[1]:
        raise ValueError("a flat mesh cannot be scaled to a height")
    return Placement(base, height / (high[1] - low[1]))
