"""The loss curves of a training folder as one picture."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dreamdist3d.files import write_atomic

STAGES = ("autoencoder", "diffusion", "clip", "dino")
_SMOOTHING = 10  # logged values a point averages


def save_curves(folder: Path, path: Path, stages: Sequence[str] = STAGES) -> None:
    """Draw the running mean of every `<stage>.jsonl` in `folder`, a panel each, as PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3.2 * len(stages), 2.6), layout="constrained")
    for axes, stage in zip(figure.subplots(1, len(stages)), stages, strict=True):
        steps, losses = _read(folder / f"{stage}.jsonl")
        axes.plot(steps, losses, linewidth=1.2, color="#33658a")
        axes.set(title=stage, xlabel="step", yscale="log" if stage == "autoencoder" else "linear")
        axes.spines[["top", "right"]].set_visible(False)
    write_atomic(path, lambda temporary: figure.savefig(temporary, dpi=110))


def _read(log: Path) -> tuple[np.ndarray, np.ndarray]:
    rows = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    window = min(_SMOOTHING, len(rows))
    kernel = np.ones(window) / window
    steps, losses = (np.array([row[key] for row in rows], dtype=float) for key in ("step", "loss"))
    return np.convolve(steps, kernel, "valid"), np.convolve(losses, kernel, "valid")
