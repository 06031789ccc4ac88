"""Do `spread` batches of draws make pictures that are less alike than independent ones, at equal fidelity?

    python benchmarks/spread.py --out outputs/spread

For each family learns a distribution and, for each of several pools of candidate draws, samples a picture of every
candidate, all from one noise. The pictures of the draws that `spread` chooses are compared with the whole pool: its
mean similarity is what independent draws have on average. Prints a table with the mean over pools and its standard
error, and writes `spread.json` and a sheet of chosen draws below as many independent ones.
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
from dreamdist3d.prompts.batches import CANDIDATES, draw_batch
from study import in_rows, pool, sample, score, train

SCORES = ("dino_similarity", "clip_similarity", "color_spread", "family_accuracy")


@dataclass(frozen=True)
class Options:
    """What to compare.

    Attributes:
        out: folder for everything.
        families: what the references show.
        count: draws in a batch.
        pools: pools of candidates for each family.
        workers: processes.
    """

    out: Path = Path("outputs/spread")
    families: tuple[str, ...] = ("mushroom", "rocket")
    count: int = 12
    pools: int = 5
    workers: int = 2


def main() -> None:
    options = tyro.cli(Options, description=__doc__)
    for family in options.families:
        write_references(options.out / f"references-{family}", family)
    cases = [(family, number) for family in options.families for number in range(options.pools)]
    with pool(options.workers) as processes:
        references = [options.out / f"references-{family}" for family in options.families]
        files = [options.out / f"{family}.safetensors" for family in options.families]
        list(processes.map(train, references, files, [{}] * len(files)))
        made = dict(zip(cases, processes.map(candidates, [options] * len(cases), cases), strict=True))
    report(options, made)


def candidates(options: Options, case: tuple[str, int]) -> tuple[Tensor, list[int]]:
    """Pictures [8 count, 3, H, W] of one pool, and which of them `spread` chooses."""
    family, number = case
    learned = PromptDistribution.load(options.out / f"{family}.safetensors")
    backbone = load_backbone("mini")
    encoder = SoftPromptEncoder(backbone.tokenizer, backbone.text_encoder)
    first = number * CANDIDATES * options.count
    draws = draw_batch(learned, CANDIDATES * options.count, first)
    chosen = draw_batch(learned, options.count, first, "spread", encoder)
    return sample(learned, draws, "matched", number), [draws.index(draw) for draw in chosen]


def report(options: Options, made: dict[tuple[str, int], tuple[Tensor, list[int]]]) -> None:
    """Print the table, write it and the sheet."""
    rows = {
        "independent": [score(pictures, family) for (family, _), (pictures, _) in made.items()],
        "spread": [score(pictures[chosen], family) for (family, _), (pictures, chosen) in made.items()],
    }
    write_json(options.out / "spread.json", {"count": options.count, "cases": list(made), "rows": rows})
    print("| | mini-DINO similarity | mini-CLIP similarity | colour spread | family accuracy |\n|---|---|---|---|---|")
    for name, scores in rows.items():
        print(f"| {name} | {' | '.join(f'{statistics.mean(s[key] for s in scores):.3f}' for key in SCORES)} |")
    differences = [
        with_error([a[key] - b[key] for a, b in zip(rows["spread"], rows["independent"], strict=True)])
        for key in SCORES
    ]
    print(f"| difference, pool by pool | {' | '.join(differences)} |")
    sheet = [part for family in options.families for part in shown(*made[family, 0], options.count)]
    save_grid(in_rows(torch.cat(sheet), options.count), options.out / "spread.png", 1)


def shown(pictures: Tensor, chosen: list[int], count: int) -> tuple[Tensor, Tensor]:
    """The first `count` independent draws of a pool, and the chosen ones."""
    return pictures[:count], pictures[chosen]


def with_error(values: list[float]) -> str:
    """Mean and standard error."""
    return f"{statistics.mean(values):+.3f} ± {statistics.stdev(values) / len(values) ** 0.5:.3f}"


if __name__ == "__main__":
    main()
