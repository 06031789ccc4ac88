"""Does a learned distribution really give more variety than one learned prompt?

    python benchmarks/diversity_2d.py --out outputs/diversity            # pictures
    python benchmarks/diversity_2d.py --out outputs/diversity --three-d  # assets

Methods: prompt distributions, coupled and with the paper's objective (`low_rank` and `diagonal`), and textual
inversion (K = 1), all with the same M, references, steps and noise. Prints a table and writes `diversity_2d.json`,
`diversity_3d.json` and contact sheets into `--out`; what is there already is not made again.
"""

import os
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import torch
import tyro
from torch import Tensor

import study
from dreamdist3d.eval import render_views
from dreamdist3d.files import write_json
from dreamdist3d.mesh import read_mesh
from dreamdist3d.mini.grids import save_grid
from dreamdist3d.mini.references import write_references
from dreamdist3d.prompts import PromptDistribution, load_references
from study import averaged, in_rows

METHODS = {
    "textual inversion": {"prompts": 1},
    "diagonal": {"objective": "paper", "covariance": "diagonal"},
    "low_rank": {"objective": "paper"},
    "coupled": {},
}


@dataclass(frozen=True)
class Options:
    """What to compare.

    Attributes:
        out: folder for everything.
        family: what the references show.
        seeds: trainings per method (the 3D comparison uses the first two).
        samples: pictures per training.
        gamma: of the draws.
        workers: processes.
        three_d: lift assets instead of sampling pictures.
        assets: assets per training.
    """

    out: Path = Path("outputs/diversity")
    family: str = "mushroom"
    seeds: int = 3
    samples: int = 64
    gamma: float = 1.0
    workers: int = os.cpu_count() or 1
    three_d: bool = False
    assets: int = 6


def main() -> None:
    options = tyro.cli(Options, description=__doc__)
    references = options.out / "references"
    write_references(references, options.family)
    seeds = range(min(options.seeds, 2) if options.three_d else options.seeds)
    paths, settings = zip(*((distribution_path(options, m, s), {**METHODS[m], "seed": s})
                            for m, s in product(METHODS, seeds)), strict=True)  # fmt: skip
    with study.pool(options.workers) as pool:
        list(pool.map(study.train, [references] * len(paths), paths, settings))
    (compare_assets if options.three_d else compare_pictures)(options, seeds)


def distribution_path(options: Options, method: str, seed: int) -> Path:
    return options.out / f"{method.replace(' ', '-')}-{seed}.safetensors"


def compare_pictures(options: Options, seeds: range) -> None:
    """Every picture i of every method starts from noise i; "one noise" starts all from noise 0."""
    save_grid(in_rows(reference_pictures(options), 10), options.out / "references.png", 1)
    with study.pool(options.workers) as pool:
        jobs = list(product(METHODS, (False, True), seeds))
        made = dict(zip(jobs, pool.map(sample, *zip(*[(options, *job) for job in jobs], strict=True)), strict=True))
    rows, sheets = {"references": score(reference_pictures(options), options)}, {}
    for method, one_noise in product(METHODS, (False, True)):
        name = f"{method}{', one noise' if one_noise else ''}"
        rows[name] = averaged([score(made[method, one_noise, seed], options) for seed in seeds])
        sheets[name] = made[method, one_noise, 0]
    for name, pictures in sheets.items():
        save_grid(in_rows(pictures[:32], 16), options.out / f"2d-{name.replace(', ', '-').replace(' ', '-')}.png", 1)
    report(rows, options, "2d", f"{len(seeds)} trainings, {options.samples} samples each")


def sample(options: Options, method: str, one_noise: bool, seed: int) -> Tensor:
    """[samples, 3, H, W] from `samples` draws of one training."""
    learned = PromptDistribution.load(distribution_path(options, method, seed))
    draws = [learned.draw(i, options.gamma) for i in range(options.samples)]
    return study.sample(learned, draws, "matched" if one_noise else "fresh")


def compare_assets(options: Options, seeds: range) -> None:
    """Each asset has its own draw and its own lift seed, the same ones for all methods."""
    runs = {(m, s): lift(options, m, s) for m, s in product(METHODS, seeds)}
    rows, sheet = {"references": score(reference_pictures(options), options)}, []
    for method in METHODS:
        views = [[torch.from_numpy(render_views(read_mesh(run / "export" / "model.glb"))) for run in runs[method, seed]]
                 for seed in seeds]  # fmt: skip
        pictures = [torch.stack(v).permute(0, 1, 4, 2, 3).float() / 255 for v in views]  # [assets, 4, 3, H, W]
        rows[method] = averaged([score_assets(p, options) for p in pictures])
        sheet += [list(p[:, 0]) for p in pictures]
    save_grid(sheet, options.out / "3d.png", 1)
    report(rows, options, "3d", f"{len(seeds)} trainings, {options.assets} assets each")


def lift(options: Options, method: str, seed: int) -> list[Path]:
    """The folders of a training's assets."""
    learned = distribution_path(options, method, seed)
    gamma = f"system.prompt_processor.gamma={options.gamma}"
    return study.lift_batch(
        learned.with_suffix(""), learned, options.assets, options.workers, seed * options.assets, gamma
    )


def reference_pictures(options: Options) -> Tensor:
    return load_references(options.out / "references", study.JUDGED_SIZE).pixels / 2 + 0.5


def score(pictures: Tensor, options: Options) -> dict[str, float]:
    """The scores of [N, 3, H, W]."""
    return study.score(pictures, options.family)


def score_assets(pictures: Tensor, options: Options) -> dict[str, float]:
    """Scores of [assets, 4 views, 3, H, W]: per view, then the mean; an asset's family must be told in every view."""
    views = [score(pictures[:, view], options) for view in range(pictures.shape[1])]
    return averaged(views, round_to=6)


def report(rows: dict[str, dict[str, float]], options: Options, kind: str, amount: str) -> None:
    path = options.out / f"diversity_{kind}.json"
    write_json(path, {"family": options.family, "gamma": options.gamma, "amount": amount, "rows": rows})
    print(f"\n{options.family}, gamma {options.gamma}, {amount}\n")
    print("| | colour spread | of the references' | x textual inversion | family accuracy | mini-DINO similarity |")
    print("|---|---|---|---|---|---|")
    base, goal = rows["textual inversion"]["color_spread"], rows["references"]["color_spread"]
    for name, row in rows.items():
        spread = row["color_spread"]
        print(f"| {name} | {spread:.3f} | {spread / goal:.2f} | {spread / base:.2f} "
              f"| {row['family_accuracy']:.2f} | {row['dino_similarity']:.3f} |")  # fmt: skip
    print(f"\n{path}")


if __name__ == "__main__":
    main()
