"""The twelve colours of the miniature world, as sRGB triples in [0, 1]."""

import numpy as np

PALETTE: dict[str, tuple[float, float, float]] = {
    "red": (0.86, 0.10, 0.10),
    "orange": (0.97, 0.50, 0.06),
    "yellow": (0.96, 0.87, 0.12),
    "green": (0.13, 0.62, 0.18),
    "teal": (0.06, 0.62, 0.62),
    "blue": (0.10, 0.24, 0.86),
    "purple": (0.50, 0.13, 0.70),
    "pink": (0.96, 0.52, 0.72),
    "brown": (0.44, 0.25, 0.11),
    "white": (0.94, 0.94, 0.92),
    "gray": (0.52, 0.53, 0.54),
    "black": (0.10, 0.10, 0.11),
}
COLOR_NAMES = tuple(PALETTE)
JITTER = 0.03


def shade_of(name: str, rng: np.random.Generator) -> tuple[float, float, float]:
    """One object's own variant of a named colour: the palette entry moved by at most `JITTER` a channel."""
    moved = np.asarray(PALETTE[name]) + rng.uniform(-JITTER, JITTER, 3)
    red, green, blue = np.clip(moved, 0.0, 1.0).tolist()
    return red, green, blue


def other_than(name: str, rng: np.random.Generator) -> str:
    """A colour name drawn uniformly from the palette without `name`."""
    return str(rng.choice([c for c in COLOR_NAMES if c != name]))
