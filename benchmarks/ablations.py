"""What K, M, lambda and gamma do, on the miniature: the figures and pictures of docs/prompt-distributions.md.

    python benchmarks/ablations.py --out outputs/ablations

Learns one distribution for each setting (the others at their defaults), samples each with fresh noise and with
one noise for all, prints a table, and writes `ablations.json` and one picture for each parameter: a row for
each value, eight draws with matched noise and eight with fresh noise. What is there already is not made again.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import tyro
from torch import Tensor

from dreamdist3d.files import write_json
from dreamdist3d.mini.grids import save_grid
from dreamdist3d.mini.references import write_references
from dreamdist3d.prompts import PromptDistribution
from study import pool, sample, score, score_references, train

BASE = {"prompts": 32, "tokens": 4, "ortho": 5e-3}
VALUES = {"prompts": (1, 4, 32), "tokens": (1, 4, 8), "ortho": (0.0, 5e-3, 0.5)}
GAMMAS = (0.0, 0.5, 1.0, 2.0, 4.0)
NAMES = {"prompts": "K", "tokens": "M", "ortho": "lambda", "gamma": "gamma"}
SHOWN = 8


@dataclass(frozen=True)
class Options:
    """What to make.

    Attributes:
        out: folder for everything.
        family: what the references show.
        samples: pictures for each setting and kind of noise.
        workers: processes.
    """

    out: Path = Path("outputs/ablations")
    family: str = "mushroom"
    samples: int = 32
    workers: int = 2


def main() -> None:
    options = tyro.cli(Options, description=__doc__)
    references = options.out / "references"
    write_references(references, options.family)
    settings = [BASE, *({**BASE, key: v} for key, values in VALUES.items() for v in values if v != BASE[key])]
    with pool(options.workers) as processes:
        paths = [file_of(options, s) for s in settings]
        list(processes.map(train, [references] * len(settings), paths, settings))
        cases = [(parameter, value, noise) for parameter, value in all_cases() for noise in ("fresh", "matched")]
        made = dict(zip(cases, processes.map(pictures, [options] * len(cases), cases), strict=True))
    report(options, made, score_references(references, options.family))


def all_cases() -> list[tuple[str, float]]:
    """Every parameter with every value that is shown of it."""
    learned = [(parameter, value) for parameter, values in VALUES.items() for value in values]
    return learned + [("gamma", gamma) for gamma in GAMMAS]


def file_of(options: Options, setting: dict[str, Any]) -> Path:
    """Where the distribution of a setting is kept."""
    return options.out / ("-".join(f"{NAMES[key]}{value:g}" for key, value in setting.items()) + ".safetensors")


def pictures(options: Options, case: tuple[str, float, str]) -> Tensor:
    """[samples, 3, H, W] of one value and kind of noise."""
    parameter, value, noise = case
    setting = BASE if parameter == "gamma" else {**BASE, parameter: value}
    learned = PromptDistribution.load(file_of(options, setting))
    gamma = value if parameter == "gamma" else 1.0
    return sample(learned, [learned.draw(seed, gamma) for seed in range(options.samples)], noise)


def report(options: Options, made: dict[tuple[str, float, str], Tensor], references: dict[str, float]) -> None:
    """Print the table, write it and the pictures."""
    rows = [
        {
            "parameter": NAMES[parameter],
            "value": value,
            "fresh": score(made[parameter, value, "fresh"], options.family),
            "matched": score(made[parameter, value, "matched"], options.family),
        }
        for parameter, value in all_cases()
    ]
    write_json(options.out / "ablations.json", {"samples": options.samples, "references": references, "rows": rows})
    print("| | colour spread, fresh noise | colour spread, one noise | family accuracy | mini-DINO similarity |")
    print("|---|---|---|---|---|")
    print(f"| references | {references['color_spread']:.2f} | | {references['family_accuracy']:.2f} "
          f"| {references['dino_similarity']:.2f} |")  # fmt: skip
    for row in rows:
        fresh, matched = row["fresh"], row["matched"]
        print(f"| {row['parameter']} = {row['value']:g} | {fresh['color_spread']:.2f} | {matched['color_spread']:.2f} "
              f"| {fresh['family_accuracy']:.2f} | {fresh['dino_similarity']:.2f} |")  # fmt: skip
    for parameter in NAMES:
        values = [value for name, value in all_cases() if name == parameter]
        sheet = [
            [*made[parameter, v, "matched"][:SHOWN], torch.ones(3, 64, 16), *made[parameter, v, "fresh"][:SHOWN]]
            for v in values
        ]
        save_grid(sheet, options.out / f"ablation-{NAMES[parameter]}.png", 1)


if __name__ == "__main__":
    main()
