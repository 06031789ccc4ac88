"""Does a learned distribution really give more variety than one learned prompt?

    python benchmarks/diversity_2d.py --out outputs/diversity            # pictures
    python benchmarks/diversity_2d.py --out outputs/diversity --three-d  # assets

Methods: a prompt distribution with `low_rank` and with `diagonal` covariance, and textual inversion (K = 1),
all with the same M, references, steps and noise. Prints a table and writes `diversity_2d.json`,
`diversity_3d.json` and contact sheets into `--out`; what is there already is not made again.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import statistics
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from itertools import product
from multiprocessing import get_context
from pathlib import Path

import torch
import tyro
from torch import Tensor

from attributes import color_spread, family_accuracy
from dreamdist3d.backbones import Backbone, latent_shape, load_backbone, sample_images
from dreamdist3d.config import load_config
from dreamdist3d.eval import MiniClip, MiniDino, mean_pairwise_similarity, render_views
from dreamdist3d.files import write_json
from dreamdist3d.mesh import read_mesh
from dreamdist3d.mini.grids import save_grid
from dreamdist3d.mini.references import write_references
from dreamdist3d.prompts import PromptDistribution, SoftPromptEncoder, learn, load_references, preset_for
from dreamdist3d.runs.local import launch_job, run_jobs

METHODS = {
    "textual inversion": {"prompts": 1},
    "diagonal": {"covariance": "diagonal"},
    "low_rank": {"covariance": "low_rank"},
}
CONFIG = "dreamdist3d/mini.yaml"


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
    with ProcessPoolExecutor(options.workers, get_context("spawn")) as pool:
        list(pool.map(train, *zip(*product([options], METHODS, seeds), strict=True)))
    (compare_assets if options.three_d else compare_pictures)(options, seeds)


def distribution_path(options: Options, method: str, seed: int) -> Path:
    return options.out / f"{method.replace(' ', '-')}-{seed}.safetensors"


def train(options: Options, method: str, seed: int) -> None:
    torch.set_num_threads(1)
    path = distribution_path(options, method, seed)
    if not path.exists():
        backbone = load_backbone("mini")
        references = load_references(options.out / "references", backbone.image_size)
        learn(backbone, references, replace(preset_for(backbone), seed=seed, **METHODS[method]), path)


def compare_pictures(options: Options, seeds: range) -> None:
    """Every picture i of every method starts from noise i; "one noise" starts all from noise 0."""
    save_grid(in_rows(reference_pictures(options), 10), options.out / "references.png", 1)
    with ProcessPoolExecutor(options.workers, get_context("spawn")) as pool:
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


@torch.no_grad()
def sample(options: Options, method: str, one_noise: bool, seed: int) -> Tensor:
    """[samples, 3, H, W] from `samples` draws of one training."""
    torch.set_num_threads(1)
    backbone = load_backbone("mini")
    text, negative = draws(backbone, distribution_path(options, method, seed), options)
    generator = torch.Generator().manual_seed(12345)
    noise = torch.randn(options.samples, *latent_shape(backbone), generator=generator)
    if one_noise:
        noise = noise[:1].expand_as(noise)
    guidance = load_config(CONFIG).system.guidance
    return sample_images(backbone, text, negative, noise, guidance.guidance_scale, rescale=guidance.recon_std_rescale)


def draws(backbone: Backbone, path: Path, options: Options) -> tuple[Tensor, Tensor]:
    """The draws' prompts [samples, L, D] and the negative prompt [L, D]."""
    distribution = PromptDistribution.load(path)
    encoder = SoftPromptEncoder(backbone.tokenizer, backbone.text_encoder)
    moments = distribution.moments(encoder)
    text = [distribution.draw(i, options.gamma).embed(moments) for i in range(options.samples)]
    return torch.stack(text), encoder.encode_text([""]).hidden[0]


def compare_assets(options: Options, seeds: range) -> None:
    """Each asset has its own draw and its own lift seed, the same ones for all methods."""
    runs = {(m, s): [options.out / f"{m.replace(' ', '-')}-{s}" / f"{i}" for i in range(options.assets)]
            for m, s in product(METHODS, seeds)}  # fmt: skip
    jobs = [
        launch_job(
            f"{run.parent.name}/{run.name}", CONFIG, overrides(options, method, seed, run), run.with_suffix(".log")
        )
        for (method, seed), folders in runs.items()
        for run in folders
        if not (run / "export" / "model.glb").exists()
    ]
    run_jobs(jobs, options.workers)
    rows, sheet = {"references": score(reference_pictures(options), options)}, []
    for method in METHODS:
        views = [[torch.from_numpy(render_views(read_mesh(run / "export" / "model.glb"))) for run in runs[method, seed]]
                 for seed in seeds]  # fmt: skip
        pictures = [torch.stack(v).permute(0, 1, 4, 2, 3).float() / 255 for v in views]  # [assets, 4, 3, H, W]
        rows[method] = averaged([score_assets(p, options) for p in pictures])
        sheet += [list(p[:, 0]) for p in pictures]
    save_grid(sheet, options.out / "3d.png", 1)
    report(rows, options, "3d", f"{len(seeds)} trainings, {options.assets} assets each")


def overrides(options: Options, method: str, seed: int, run: Path) -> list[str]:
    number = seed * options.assets + int(run.name)
    return [
        f"exp_root_dir={options.out}",
        f"name={run.parent.name}",
        f"tag={run.name}",
        f"seed={number}",
        f"system.prompt_processor.distribution={distribution_path(options, method, seed)}",
        f"system.prompt_processor.draw_seed={number}",
        f"system.prompt_processor.gamma={options.gamma}",
    ]


def reference_pictures(options: Options) -> Tensor:
    return load_references(options.out / "references", 128).pixels / 2 + 0.5


def score(pictures: Tensor, options: Options) -> dict[str, float]:
    return {
        "color_spread": color_spread(pictures, options.family),
        "family_accuracy": family_accuracy(pictures, options.family, MiniClip()),
        "dino_similarity": mean_pairwise_similarity(MiniDino().encode(pictures)),
    }


def score_assets(pictures: Tensor, options: Options) -> dict[str, float]:
    """Scores of [assets, 4 views, 3, H, W]: per view, then the mean; an asset's family must be told in every view."""
    views = [score(pictures[:, view], options) for view in range(pictures.shape[1])]
    return averaged(views, round_to=6)


def averaged(rows: list[dict[str, float]], round_to: int = 3) -> dict[str, float]:
    return {key: round(statistics.mean(row[key] for row in rows), round_to) for key in rows[0]}


def in_rows(pictures: Tensor, length: int) -> list[list[Tensor]]:
    return [list(pictures[i : i + length]) for i in range(0, len(pictures), length)]


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
