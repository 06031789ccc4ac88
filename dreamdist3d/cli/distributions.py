"""Commands about prompt distributions."""

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from dreamdist3d.cli.given import given


@dataclass(frozen=True)
class LearnSettings:
    """Settings of Algorithm 1; those left out take the backbone's preset."""

    prompts: int | None = None
    """K, the prompts that span the distribution; 1 is textual inversion."""
    tokens: int | None = None
    """M, learned vectors in each prompt."""
    samples: int | None = None
    """S, draws per image and step."""
    batch: int | None = None
    """Images per step."""
    steps: int | None = None
    """Optimisation steps."""
    lr: float | None = None
    """Learning rate."""
    ortho: float | None = None
    """Weight of the orthogonality term."""
    covariance: Literal["low_rank", "diagonal"] | None = None
    """The Gaussian: the prompts' full covariance, or the paper's diagonal."""
    prefix: str | None = None
    """Fixed words before the tokens."""
    suffix: str | None = None
    """Fixed words after them."""
    seed: int | None = None
    """Of initialisation, noise and draws."""
    min_snr_gamma: float | None = None
    """Min-SNR loss weighting (usually 5)."""


def learn(
    folder: Positional[Path],
    out: Path,
    backbone: str = "mini",
    settings: Annotated[LearnSettings, arg(name="")] = LearnSettings(),
    restart: bool = False,
    device: Literal["auto", "cpu", "cuda"] = "auto",
) -> None:
    """Learn a prompt distribution from a folder of reference images.

    Args:
        folder: reference images (jpg, png, webp).
        out: the safetensors file to write.
        backbone: mini, mvdream, sd21 or a local folder.
        restart: forget the checkpoint of an interrupted learning.
        device: where to compute.
    """
    from dreamdist3d.backbones import load_backbone
    from dreamdist3d.prompts import learn, load_references, preset_for
    from dreamdist3d.runs.one import resolve_device

    model = load_backbone(backbone, resolve_device(device))
    references = load_references(folder, model.image_size)
    for path, reason in references.skipped:
        print(f"skipped {path}: {reason}", file=sys.stderr)
    learn(model, references, replace(preset_for(model), **given(settings)), out, restart)
    print(out)
