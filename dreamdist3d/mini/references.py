"""Reference images of one family, as a user would collect them: one object a picture, on white."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from dreamdist3d.errors import UserError
from dreamdist3d.files import write_atomic
from dreamdist3d.lift.cameras import sample_cameras
from dreamdist3d.mini.families import FAMILIES, build
from dreamdist3d.mini.palette import COLOR_NAMES
from dreamdist3d.mini.render import MINI_CAMERAS, composite, render

REFERENCE_SIZE = 128


def write_references(folder: Path, family: str, count: int = 20, seed: int = 0) -> None:
    """Write `count` pictures (`<family>-00.png`, ...) of objects whose main colours go round the palette.

    Raises:
        UserError: an unknown family, fewer than one picture, or a folder that cannot be written.
    """
    if family not in FAMILIES:
        raise UserError(f"there is no family {family!r} in the miniature world: choose one of {', '.join(FAMILIES)}.")
    if count < 1:
        raise UserError(f"--count is {count}; at least one picture is needed.")
    rng = np.random.default_rng(seed)
    colors = [str(name) for name in rng.permutation(COLOR_NAMES)]
    for index in range(count):
        picture = picture_of(family, colors[index % len(colors)], rng)
        write_atomic(folder / f"{family}-{index:02d}.png", picture.save)


def picture_of(family: str, color: str, rng: np.random.Generator) -> Image.Image:
    """One object of a family and main colour on white, shaped, lit and looked at as `rng` has it."""
    spec = build(family, rng, color)
    generator = torch.Generator().manual_seed(int(rng.integers(2**31)))
    cameras = sample_cameras(MINI_CAMERAS, 1, generator).at([0])
    rgba = torch.from_numpy(render(spec.mesh(), cameras, REFERENCE_SIZE, spec.surface()))
    rgb = composite(rgba, torch.ones(1, 3))[0]
    return Image.fromarray(((rgb + 1) * 127.5).round().byte().permute(1, 2, 0).numpy())
