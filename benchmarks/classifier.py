"""Appendix E in miniature: how good is a classifier that learns from drawn pictures?

    python benchmarks/classifier.py run --out outputs/classifier      # goes on where it was
    python benchmarks/classifier.py table --out outputs/classifier
    python benchmarks/classifier.py run --learned outputs/tables-2d --families ...    # with what is learned there

Sources of training pictures: the references themselves (real), and `--per-class` pictures of each class, drawn as
`dreamdist3d dataset` does from class names, from textual inversion, and from distributions of both objectives; and real
ones with each of them. A small network learns from each source with the same number of steps, and is tested on held-out
renders as the references are, and on held-out renders that differ in background, light, or viewpoint.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import json
from collections import defaultdict
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import torch.nn.functional as F
import tyro
from cells import DEVICE, copy_whole
from torch import Tensor, nn
from tyro.conf import arg

from concepts import article, first_references
from dreamdist3d.backbones import load_backbone
from dreamdist3d.baselines import make_baseline, preset
from dreamdist3d.eval.statistics import AssetMean, jackknife_mean
from dreamdist3d.files import write_json
from dreamdist3d.lift.cameras import CameraRanges, sample_cameras
from dreamdist3d.mini.backgrounds import random_scenes
from dreamdist3d.mini.families import FAMILIES, build
from dreamdist3d.mini.references import write_references
from dreamdist3d.mini.render import MINI_CAMERAS, composite, render
from dreamdist3d.prompts import load_references
from dreamdist3d.prompts.looks.pictures import rescale_for
from dreamdist3d.randomness import generator_for
from dreamdist3d.synthetic import DatasetConfig, make_dataset

SIZE, SEEN = 64, 32  # pixels a side: of pictures, and of what the network looks at
SYNTHETIC = ("class names", "textual inversion", "distribution, paper", "distribution, coupled")
SOURCES = ("real", *SYNTHETIC, *(f"real + {name}" for name in SYNTHETIC))
LEARNED = {"textual inversion": "textual-inversion", "distribution, paper": "paper", "distribution, coupled": "coupled"}
TESTS = ("as the references", "background", "light", "viewpoint")
ABOVE = CameraRanges(elevation_deg=(40.0, 65.0), fov_deg=(40.0, 40.0), distance=MINI_CAMERAS.distance)


@dataclass(frozen=True)
class Options:
    """What to run.

    Attributes:
        out: folder for everything.
        families: the classes.
        references: real pictures of each class, which everything learns from.
        per_class: drawn pictures of each class.
        held_out: test pictures of each class.
        steps: of learning prompts; left out, the presets.
        learned: a folder of `tables_2d.py`, whose learnings of seed 0, of the same references, are taken.
        ddim: steps of sampling.
        train: steps of the classifier.
        seeds: classifiers of each source.
        suffixes: words that pictures are drawn under.
        device: cpu or cuda, of learning and drawing.
    """

    out: Path = Path("outputs/classifier")
    families: tuple[str, ...] = ("mushroom", "house", "rocket", "tower", "lamp", "teapot", "mug", "barrel")
    references: int = 20
    per_class: int = 500
    held_out: int = 100
    steps: int | None = None
    learned: Path | None = None
    ddim: int = 20
    train: int = 400
    seeds: int = 5
    suffixes: tuple[str, ...] = ("", ", gradient background", ", textured background")
    device: str = DEVICE


class Network(nn.Sequential):
    """Four convolutions and a mean: [B, 3, 32, 32] -> [B, classes]."""

    def __init__(self, classes: int) -> None:
        layers: list[nn.Module] = []
        for into, out in ((3, 24), (24, 48), (48, 96), (96, 96)):
            layers += [nn.Conv2d(into, out, 3, padding=1), nn.GroupNorm(8, out), nn.ReLU(), nn.MaxPool2d(2)]
        super().__init__(*layers, nn.Flatten(), nn.Linear(96 * 4, classes))


def run(options: Annotated[Options, arg(name="")]) -> None:
    """Make what is missing: pictures, then classifiers."""
    torch.set_num_threads(1)
    for family in options.families:
        folder = options.out / "references" / family
        if len(list(folder.glob("*.png"))) < options.references:
            write_references(folder, family, options.references)
    tests = held_out(options)
    pictures = {name: drawn(options, name) for name in SYNTHETIC}
    pictures["real"] = real(options)
    for source, seed in product(SOURCES, range(options.seeds)):
        path = options.out / "classifiers" / f"{source.replace(' ', '-').replace(',', '')}-{seed}.json"
        if not path.is_file():
            parts = [pictures[name] for name in source.split(" + ")]
            network = train(parts, len(options.families), seed, options.train)
            row = {name: accuracy(network, *tests[name]) for name in TESTS}
            write_json(path, {"source": source, "seed": seed, **row})
            print(source, seed, row, flush=True)


def real(options: Options) -> tuple[Tensor, Tensor]:
    """The references and their labels."""
    found = [
        first_references(options.out / "references" / f, options.references, SIZE).pixels for f in options.families
    ]
    return torch.cat(found), torch.arange(len(found)).repeat_interleave(options.references)


def drawn(options: Options, name: str) -> tuple[Tensor, Tensor]:
    """Pictures [N, 3, S, S] in [-1, 1] of one source and their labels, made if they are not there."""
    folder = options.out / name.replace(", ", "-").replace(" ", "-")
    classes, learn = prompts(options, name, folder / "classes")
    backbone = load_backbone("mini", options.device)
    gammas = (0.6, 1.0, 1.4) if name.startswith("distribution") else (1.0,)
    config = DatasetConfig(
        options.per_class, gammas=gammas, suffixes=options.suffixes, steps=options.ddim, rescale=rescale_for(backbone),
        learn=learn,
    )  # fmt: skip
    if failed := make_dataset(classes, backbone, config, folder / "data"):
        raise SystemExit(failed[0])
    # Sorted by name there, in the options' order here.
    found = [load_references(folder / "data" / "images" / family, SIZE).pixels for family in options.families]
    return torch.cat(found), torch.arange(len(found)).repeat_interleave(options.per_class)


def prompts(options: Options, name: str, folder: Path) -> tuple[Path, dict[str, Any]]:
    """The classes that a data set is made of, and how those that are pictures are learned."""
    steps = {} if options.steps is None else {"steps": options.steps}
    if options.learned is not None and name in LEARNED:
        for family in options.families:
            made = options.learned / "cells" / f"{family}-{LEARNED[name]}-0" / "prompts.safetensors"
            if not made.is_file():
                raise SystemExit(f"{made} is missing: run tables_2d.py for {family}, or leave --learned out.")
            copy_whole(made, folder / f"{family}.safetensors")
        return folder, {}
    if name.startswith("distribution"):
        return options.out / "references", {"objective": name.rpartition(" ")[2], **steps}
    backbone = load_backbone("mini", options.device)
    for family in options.families:
        if name == "class names":
            make_baseline(backbone, None, preset(backbone, "words", words=(article(family),)), folder / family)
        else:
            images = first_references(options.out / "references" / family, options.references, SIZE)
            make_baseline(backbone, images, preset(backbone, "textual-inversion", **steps), folder / family)
    return folder, {}


def held_out(options: Options) -> dict[str, tuple[Tensor, Tensor]]:
    """Pictures [N, 3, S, S] in [-1, 1] of objects that nobody has seen, and their labels, for every test."""
    labels = torch.arange(len(options.families)).repeat_interleave(options.held_out)
    level, above = (
        torch.from_numpy(np.concatenate([rendered(family, options.held_out, cameras) for family in options.families]))
        for cameras in (MINI_CAMERAS, ABOVE)
    )
    scenes, _ = random_scenes(len(labels), SIZE, generator_for(0, "scenes"))
    tint = 0.45 + 0.75 * torch.rand(len(labels), 3, 1, 1, generator=generator_for(0, "light"))
    white = torch.ones(len(labels), 3)
    plain = composite(level, white)
    shaded = composite(level, torch.zeros(len(labels), 3)) + 1  # [0, 2], black behind
    alpha = level[..., 3][:, None].float() / 255
    return {
        "as the references": (plain, labels),
        "background": (composite(level, scenes), labels),
        "light": ((shaded * tint).clamp(max=2) - 1 + 2 * (1 - alpha), labels),
        "viewpoint": (composite(above, white), labels),
    }


def rendered(family: str, count: int, ranges: CameraRanges) -> np.ndarray:
    """uint8 [count, S, S, 4]: objects of another seed than any reference's, each from somewhere."""
    rng = np.random.default_rng([9, list(FAMILIES).index(family)])
    made = []
    for _ in range(count):
        spec = build(family, rng)
        cameras = sample_cameras(ranges, 1, torch.Generator().manual_seed(int(rng.integers(2**31)))).at([0])
        made.append(render(spec.mesh(), cameras, SIZE, spec.surface())[0])
    return np.stack(made)


def train(parts: list[tuple[Tensor, Tensor]], classes: int, seed: int, steps: int, batch: int = 64) -> Network:
    """A network of its own initialisation; of several parts every step takes as much from each."""
    generator = generator_for(seed, "classifier")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(generator.initial_seed())
        network = Network(classes)
    parts = [(shrunk(pictures), labels) for pictures, labels in parts]
    optimizer = torch.optim.AdamW(network.parameters(), lr=2e-3, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=steps)
    for _ in range(steps):
        chosen = [torch.randint(len(labels), (batch // len(parts),), generator=generator) for _, labels in parts]
        inputs = torch.cat([pictures[rows] for (pictures, _), rows in zip(parts, chosen, strict=True)])
        labels = torch.cat([labels[rows] for (_, labels), rows in zip(parts, chosen, strict=True)])
        loss = F.cross_entropy(network(varied(inputs, generator)), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return network.eval()


def varied(pictures: Tensor, generator: torch.Generator) -> Tensor:
    """Mirrored by half, and moved by up to three pixels, in one batch alike in both directions."""
    flipped = torch.where(torch.rand(len(pictures), 1, 1, 1, generator=generator) < 0.5, pictures.flip(-1), pictures)
    shift = torch.randint(-3, 4, (2,), generator=generator).tolist()
    return flipped.roll(shift, dims=(-2, -1))


@torch.no_grad()
def accuracy(network: Network, pictures: Tensor, labels: Tensor) -> float:
    return round(float((network(shrunk(pictures)).argmax(dim=1) == labels).float().mean()), 4)


def shrunk(pictures: Tensor) -> Tensor:
    return F.interpolate(pictures, (SEEN, SEEN), mode="area")


def table(out: Path = Path("outputs/classifier")) -> None:
    """Print accuracies: means over classifiers, ± half of a 95 % t interval over them."""
    found: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for path in sorted((out / "classifiers").glob("*.json")):
        row = json.loads(path.read_text())
        for name in TESTS:
            found[row["source"]][name].append(row[name])
    print(f"| trained on | {' | '.join(TESTS)} |")
    print("|" + "---|" * (len(TESTS) + 1))
    for source in SOURCES:
        if source in found:
            print(f"| {source} | {' | '.join(shown(found[source][name]) for name in TESTS)} |")


def shown(values: list[float]) -> str:
    estimate = jackknife_mean(AssetMean(torch.tensor(values, dtype=torch.float64)), 0.0, 1.0)
    reach = (
        "" if estimate.error is None else f" ± {max(estimate.high - estimate.value, estimate.value - estimate.low):.3f}"
    )
    return f"{estimate.value:.3f}{reach}"


if __name__ == "__main__":
    tyro.extras.subcommand_cli_from_dict({"run": run, "table": table})
