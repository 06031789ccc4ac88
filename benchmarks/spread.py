"""Do `spread` batches of draws make pictures that are less alike than independent ones, at equal fidelity?

    python benchmarks/spread.py --out outputs/spread

For each family learns a distribution, then compares batches of draws (independent, antithetic, spread) whose
pictures start from the same noises. Prints a table with the mean over batches and families and its standard
error over batches, and writes `spread.json` and one sheet for each kind of batch.
"""

import statistics
from dataclasses import dataclass
from pathlib import Path

import torch
import tyro
from torch import Tensor

from dreamdist3d.backbones import load_backbone
from dreamdist3d.files import write_json
from dreamdist3d.mini.grids import save_grid
from dreamdist3d.mini.references import write_references
from dreamdist3d.prompts import PromptDistribution, SoftPromptEncoder
from dreamdist3d.prompts.batches import BATCHINGS, CANDIDATES, draw_batch
from study import in_rows, pool, sample, score, train

SCORES = ("dino_similarity", "clip_similarity", "color_spread", "family_accuracy")


@dataclass(frozen=True)
class Options:
    """What to compare.

    Attributes:
        out: folder for everything.
        families: what the references show.
        count: draws in a batch.
        batches: batches of each kind and family.
        noise: fresh or matched initial noise.
        workers: processes.
    """

    out: Path = Path("outputs/spread")
    families: tuple[str, ...] = ("mushroom", "rocket")
    count: int = 12
    batches: int = 8
    noise: str = "matched"
    workers: int = 2


def main() -> None:
    options = tyro.cli(Options, description=__doc__)
    for family in options.families:
        write_references(options.out / f"references-{family}", family)
    cases = [(family, how, b) for family in options.families for how in BATCHINGS for b in range(options.batches)]
    with pool(options.workers) as processes:
        references = [options.out / f"references-{family}" for family in options.families]
        files = [options.out / f"{family}.safetensors" for family in options.families]
        list(processes.map(train, references, files, [{}] * len(files)))
        made = dict(zip(cases, processes.map(pictures, [options] * len(cases), cases), strict=True))
    report(options, made)


def pictures(options: Options, case: tuple[str, str, int]) -> Tensor:
    """[count, 3, H, W] of one batch; batch b has the same candidates and noises whatever its kind."""
    family, how, number = case
    learned = PromptDistribution.load(options.out / f"{family}.safetensors")
    backbone = load_backbone("mini")
    encoder = SoftPromptEncoder(backbone.tokenizer, backbone.text_encoder)
    draws = draw_batch(learned, options.count, number * CANDIDATES * options.count, how, encoder)
    return sample(learned, draws, options.noise, number)


def report(options: Options, made: dict[tuple[str, str, int], Tensor]) -> None:
    """Print the table, write it and the sheets."""
    rows = {how: [score(p, family) for (family, h, _), p in made.items() if h == how] for how in BATCHINGS}
    write_json(options.out / "spread.json", {"noise": options.noise, "count": options.count, "rows": rows})
    print("| | mini-DINO similarity | mini-CLIP similarity | colour spread | family accuracy |\n|---|---|---|---|---|")
    for how, scores in rows.items():
        print(f"| {how} | {' | '.join(with_error([s[name] for s in scores]) for name in SCORES)} |")
    base = rows["independent"]
    for how in BATCHINGS[1:]:
        print(f"\n{how} minus independent, pairwise: "
              + ", ".join(f"{n} {with_error([a[n] - b[n] for a, b in zip(rows[how], base, strict=True)])}"
                          for n in SCORES))  # fmt: skip
    for how in BATCHINGS:
        sheet = torch.cat([made[family, how, b] for family in options.families for b in range(2)])
        save_grid(in_rows(sheet, options.count), options.out / f"{how}.png", 1)


def with_error(values: list[float]) -> str:
    """Mean and standard error."""
    return f"{statistics.mean(values):.3f} ± {statistics.stdev(values) / len(values) ** 0.5:.3f}"


if __name__ == "__main__":
    main()
