"""Which objective makes draws that mean something? Variants of learning by families, seeds and gammas.

    python benchmarks/objective.py prepare --out outputs/objective     # references and held-out objects, once
    python benchmarks/objective.py run --out outputs/objective --variants paper coupled
    python benchmarks/objective.py table --out outputs/objective

A cell is one learning. It leaves `cells/VARIANT-FAMILY-SEED.safetensors` (its tokens), `.json` (the scores of
its draws at every gamma, from one noise for all and from fresh noise) and, of the first seed, `.png` (32 draws from one
noise, a row of two for each gamma). Cells that are there are not made again. Trials of all cells learn in one stack,
which a GPU does nearly as fast as one of them; on a CPU `--stack 1` is best.
"""

import json
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import tyro
from objective_judges import HELD_OUT, judges, references_of, score
from objective_table import print_tables
from objective_variants import VARIANTS, Family, Trial, Variant, learn_together
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor
from tyro.conf import arg

from dreamdist3d.backbones import Backbone, latent_shape, load_backbone, sample_images
from dreamdist3d.files import write_atomic, write_json
from dreamdist3d.mini.grids import save_grid
from dreamdist3d.prompts import SoftPromptEncoder, load_references
from dreamdist3d.prompts.learning.execution import Execution, prepared
from dreamdist3d.prompts.learning.images import encode_references
from dreamdist3d.prompts.looks.pictures import Sampling, initial_noise, rescale_for

REFERENCES = 100  # written; a variant learns from the first 20 unless it says otherwise
NOISES = ("matched", "fresh")
Judgement = dict[tuple[float, str], Future]  # scores to come, by gamma and noise


@dataclass(frozen=True)
class Options:
    """What to run.

    Attributes:
        out: folder for everything; `prepare` must have filled it.
        variants: names of `objective_variants.VARIANTS`; left out, all.
        families: of the miniature world.
        seeds: of the learnings.
        gammas: left out, each variant's own.
        draws: pictures for each gamma and kind of noise.
        steps: of DDIM.
        stack: learnings at a time.
        pictures: sampled at a time.
        workers: processes that judge pictures.
        device: cpu or cuda.
        precision: of learning.
    """

    out: Path = Path("outputs/objective")
    variants: tuple[str, ...] = ()
    families: tuple[str, ...] = ("mushroom", "rocket", "house")
    seeds: tuple[int, ...] = (0, 1, 2)
    gammas: tuple[float, ...] = ()
    draws: int = 128
    steps: int = 20
    stack: int = 1
    pictures: int = 64
    workers: int = 1
    device: str = "cuda" if torch.cuda.is_available() else "cpu"
    precision: str = "auto"


@dataclass(frozen=True)
class Cell:
    """One learning of the study."""

    name: str  # of the variant
    family: str
    seed: int

    @property
    def variant(self) -> Variant:
        return VARIANTS[self.name]

    @property
    def learning(self) -> "Cell":
        """The cell whose tokens this one draws from: itself, unless only the drawing differs."""
        return replace(self, name=self.variant.learned_as or self.name)

    def path(self, out: Path, suffix: str) -> Path:
        return out / "cells" / f"{self.name}-{self.family}-{self.seed}{suffix}"


def prepare(out: Path = Path("outputs/objective"), families: tuple[str, ...] = Options.families) -> None:
    """Write what has to be rendered: references, and objects that no learning sees."""
    from dreamdist3d.mini.references import write_references

    for family in families:
        write_references(out / family / "references", family, REFERENCES)
        write_references(out / family / "held-out", family, HELD_OUT, seed=1)


def run(options: Annotated[Options, arg(name="")]) -> None:
    """Make what is missing."""
    cells = [Cell(*c) for c in product(options.variants or tuple(VARIANTS), options.families, options.seeds)]
    missing = [cell for cell in cells if not cell.path(options.out, ".json").exists()]
    (options.out / "cells").mkdir(parents=True, exist_ok=True)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    torch.set_num_threads(1)
    with judges(options.workers) as pool:
        own = {f: pool.submit(score, options.out, f, None) for f in options.families}
        backbone = load_backbone("mini", options.device)
        waiting: list[tuple[Cell, Judgement]] = []
        for start in range(0, len(missing), options.stack):
            stack = missing[start : start + options.stack]
            learn_cells(backbone, options, stack)
            for cell, futures in sampled(backbone, options, stack, pool):
                waiting.append((cell, futures))
                waiting = [(c, f) for c, f in waiting if not finished(c, options, f)]
        for cell, futures in waiting:
            finished(cell, options, futures, wait=True)
        for family, future in own.items():
            write_json(options.out / family / "references.json", future.result())


def learn_cells(backbone: Backbone, options: Options, cells: Sequence[Cell]) -> None:
    """Write the tokens of cells that have none yet."""
    cells = list(dict.fromkeys(cell.learning for cell in cells))
    cells = [cell for cell in cells if not cell.path(options.out, ".safetensors").exists()]
    if not cells:
        return
    encoder = SoftPromptEncoder(backbone.tokenizer, backbone.text_encoder)
    families = {name: family_of(backbone, options.out, name) for name in {cell.family for cell in cells}}
    times = len(backbone.alphas_cumprod)
    trials = [Trial(cell.variant, families[cell.family], cell.seed, encoder, times) for cell in cells]
    with prepared(backbone, Execution(options.precision)):
        learn_together(backbone, encoder, trials)
    for cell, trial in zip(cells, trials, strict=True):
        write_atomic(
            cell.path(options.out, ".safetensors"), lambda p, t=trial: save_file({"tokens": t.tokens.contiguous()}, p)
        )


def family_of(backbone: Backbone, out: Path, name: str) -> Family:
    """The references of a family, as a trial wants them."""
    pixels = load_references(out / name / "references", backbone.image_size).pixels
    latents = encode_references(backbone, pixels).mean.float().cpu()
    return Family(name, latents, references_of(out, name).features)


@torch.no_grad()
def sampled(backbone: Backbone, options: Options, cells: Sequence[Cell], pool: Any) -> Iterator[tuple[Cell, Judgement]]:
    """Each cell with the scores to come of its pictures."""
    encoder = SoftPromptEncoder(backbone.tokenizer, backbone.text_encoder)
    negative = encoder.encode_text([""]).hidden[0]
    noises = {kind: initial_noise(latent_shape(backbone), options.draws, Sampling(noise=kind)) for kind in NOISES}
    for cell in cells:
        tokens = load_file(cell.learning.path(options.out, ".safetensors"))["tokens"].to(backbone.device)
        suffix = cell.family if cell.variant.class_word else ""
        hidden = encoder.encode(tokens, suffix=suffix).hidden.float()
        omega = cell.variant.omegas(hidden, options.draws).to(hidden)
        wanted = list(product(options.gammas or cell.variant.gammas, NOISES))
        text = torch.cat([cell.variant.embed(hidden, omega, gamma) for gamma, _ in wanted])
        noise = torch.cat([noises[kind] for _, kind in wanted])
        made = []
        for part, start in zip(text.split(options.pictures), noise.split(options.pictures), strict=True):
            pictures = sample_images(
                backbone, part, negative, start, 7.5, options.steps, rescale=rescale_for(backbone)
            )  # fmt: skip
            made.append((pictures * 255).round().byte().cpu())
        pictures = torch.cat(made).split(options.draws)
        if cell.seed == options.seeds[0]:
            sheet(
                cell.path(options.out, ".png"), [p for p, (_, n) in zip(pictures, wanted, strict=True) if n != "fresh"]
            )
        yield (
            cell,
            {
                case: pool.submit(score, options.out, cell.family, p.numpy())
                for case, p in zip(wanted, pictures, strict=True)
            },
        )


def sheet(path: Path, pictures: Sequence[Tensor]) -> None:
    """The first 32 draws of each gamma, in two rows of 16."""
    rows = [list(p[start : start + 16].float() / 255) for p in pictures for start in range(0, min(32, len(p)), 16)]
    save_grid(rows, path, 1)


def finished(cell: Cell, options: Options, futures: Judgement, wait: bool = False) -> bool:
    """Write a cell's scores, if they are there."""
    if not (wait or all(future.done() for future in futures.values())):
        return False
    failed = [error for future in futures.values() if (error := future.exception())]
    if failed:
        print(f"{cell.name} {cell.family} {cell.seed}: {failed[0]}")
        return True
    rows = [{"gamma": gamma, "noise": noise, **future.result()} for (gamma, noise), future in futures.items()]
    write_json(
        cell.path(options.out, ".json"),
        {"variant": cell.name, "family": cell.family, "seed": cell.seed, "draws": options.draws, "rows": rows},
    )
    return True


def table(out: Path = Path("outputs/objective"), variants: tuple[str, ...] = ()) -> None:
    """Print the means of what is there."""
    print_tables([json.loads(path.read_text()) for path in sorted((out / "cells").glob("*.json"))], out, variants)


def rows(variants: tuple[str, ...], family: str = "mushroom", out: Path = Path("outputs/objective")) -> None:
    """Write `rows.png`: the first sixteen draws of each variant's first training and first gamma, below one another."""
    pictures = [load_sheet(Cell(name, family, 0).path(out, ".png")) for name in variants]
    save_grid([[picture[:, : picture.shape[2] // 16]] for picture in pictures], out / "rows.png", 1)


def load_sheet(path: Path) -> Tensor:
    """A sheet as [3, H, W] in [0, 1]."""
    return torch.from_numpy(np.asarray(Image.open(path).convert("RGB")).copy()).movedim(-1, 0).float() / 255


if __name__ == "__main__":
    tyro.extras.subcommand_cli_from_dict({"prepare": prepare, "run": run, "table": table, "rows": rows})
