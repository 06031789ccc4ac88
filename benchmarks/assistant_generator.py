"""The assistant's generator on held-out objects, each branch by itself: how near it comes to the true picture wanted.

    python benchmarks/assistant_generator.py

Each object is asked for with another colour, part, pattern and material; S is the embedding of the true picture.
"""

from pathlib import Path

import numpy as np
import torch
import tyro

from dreamdist3d.assistant.edit import Edit
from dreamdist3d.assistant.generator.scenes import make_scene
from dreamdist3d.assistant.generator.storage import load_generator
from dreamdist3d.assistant.inputs import mini_inputs
from dreamdist3d.assistant.pictures import VARIED, changes_between
from dreamdist3d.assistant.proposing import BEGUN, GUIDANCE_PICTURED, STEPS
from dreamdist3d.assistant.storage import packaged
from dreamdist3d.assistant.subjects import WordSubject, asked_text
from dreamdist3d.assistant.train import HELD_OUT_SEED
from dreamdist3d.assistant.truth import verdicts
from dreamdist3d.backbones import latent_shape, load_backbone, sample_images
from dreamdist3d.prompts import SoftPromptEncoder
from dreamdist3d.prompts.looks.pictures import rescale_for

BRANCHES = {"S and patches": (True, True), "S alone": (True, False), "patches alone": (False, True)}


def main(objects: int = 10, generator: Path | None = None) -> None:
    """Print, for each kind of change, the share that shows it and the distance of pixels from the true picture.

    Args:
        generator: a folder that `assistant generator` wrote; None: the packaged one.
    """
    torch.set_num_threads(1)
    backbone = load_backbone("mini")
    found = load_generator(generator or packaged(), backbone)
    found.install(backbone)
    encoder = SoftPromptEncoder(backbone.tokenizer, backbone.text_encoder)
    negative = encoder.encode_text([""]).hidden[0]
    rows, texts = [], []
    for index in range(objects):
        pictures, seen = make_scene(HELD_OUT_SEED, index)
        for k in range(1, 1 + len(VARIED)):
            changes = changes_between(seen[0], seen[k])
            rows.append((pictures[0], pictures[k], changes, seen[k]))
            asked, subject = {change.kind: change.value for change in changes}, WordSubject(seen[0].family)
            is_whole = {"pattern", "second"} & asked.keys()
            whole = subject.text(subject.worded(Edit(asked), seen[0]))
            texts.append(whole if is_whole else asked_text(asked, seen[0].family))
    wanted = mini_inputs()(torch.stack([true for _, true, _, _ in rows]))[1]
    patches = found.patches(torch.stack([before for before, _, _, _ in rows]))
    started = [begun(backbone, before, number) for number, (before, _, _, _) in enumerate(rows)]
    words = encoder.encode_text(texts).hidden
    for name, kept in BRANCHES.items():
        with torch.no_grad():
            shown = found.conditions(wanted, patches, torch.tensor(kept).expand(len(rows), -1))
        text = torch.cat([words, shown], dim=1)
        made = sample_images(
            backbone, text, negative, torch.stack(started), GUIDANCE_PICTURED, STEPS, rescale=rescale_for(backbone)
        )
        print(name, "|", " | ".join(figures(kind, rows, made.float()) for kind in VARIED))


def begun(backbone, before: torch.Tensor, seed: int) -> torch.Tensor:  # noqa: ANN001, a backbone
    """Noise that holds a fifth of the picture given, whatever changes."""
    noise = torch.randn(*latent_shape(backbone), generator=torch.Generator().manual_seed(seed))
    return BEGUN * backbone.encode_images(before[None] * 2 - 1)[0] + (1 - BEGUN**2) ** 0.5 * noise


def figures(kind: str, rows: list, made: torch.Tensor) -> str:
    """`color 1.00 0.148`: share that shows what was asked, where that is measured, and root mean square of pixels."""
    holds, far = [], []
    for (before, true, changes, target), picture in zip(rows, made, strict=True):
        if changes[0].kind == kind:
            found = [v.holds for v in verdicts(picture, changes, target, before) if v.holds is not None]
            holds += [all(found)] if found else []
            far.append(float((picture - true).square().mean().sqrt()))
    share = f"{np.mean(holds):.2f}" if holds else "-"
    return f"{kind} {share} {np.mean(far):.3f}"


if __name__ == "__main__":
    tyro.cli(main)
