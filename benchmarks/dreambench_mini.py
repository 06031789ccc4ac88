"""DreamBench's protocol in miniature (the paper's appendix C.5): one object, views of it, ten prompts, four pictures.

    python benchmarks/dreambench_mini.py run --out outputs/dreambench       # goes on; started several times, shares
    python benchmarks/dreambench_mini.py table --out outputs/dreambench     # and subjects.csv
    python benchmarks/dreambench_mini.py sheet --out outputs/dreambench     # pictures of several methods

Every subject is one object of the miniature world, seen five times from around it. DINO and CLIP-I compare every
picture with every reference, CLIP-T with its prompt, under the miniature's judges; the colour error is the RGB distance
of the main part from the truth under prompts that do not change it, the shape error the difference of the logarithms of
height over width to the references', and "obeyed" is the share of pictures under a colour word that have that colour.
Seconds are of what is made of the references, models loaded; of a stopped learning those since it went on.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import csv
import io
import json
import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from time import process_time
from typing import Annotated

import numpy as np
import torch
import tyro
from cells import DEVICE, claimed
from torch import Tensor
from tyro.conf import arg

from concepts import article
from dreamdist3d.apprentice import instant, load_apprentice, packaged_apprentice
from dreamdist3d.backbones import load_backbone
from dreamdist3d.baselines import Made, make_baseline, preset
from dreamdist3d.baselines.settings import USED
from dreamdist3d.eval import MiniClip, MiniDino
from dreamdist3d.eval.statistics import AssetMean, jackknife_mean
from dreamdist3d.files import write_atomic, write_json, write_text
from dreamdist3d.lift.cameras import orbit
from dreamdist3d.mini.clusters import UNKNOWN
from dreamdist3d.mini.families import FAMILIES, ObjectSpec, build
from dreamdist3d.mini.grids import save_grid
from dreamdist3d.mini.measures import color_name, dominant_color, proportions
from dreamdist3d.mini.render import MINI_CAMERAS, composite, render
from dreamdist3d.prompts import PromptDistribution, PromptSource, learn, load_distribution, load_references, preset_for
from dreamdist3d.prompts.learning.images import read_picture
from dreamdist3d.prompts.looks.pictures import Sampling, as_image, rescale_for, sample_pictures

SIZE, VIEWS = 64, 5
PROMPTS = (("", ""), ("", ", front view"), ("", ", side view"), ("", ", back view"),
           ("", ", gradient background"), ("", ", textured background"),
           ("a red", ""), ("a blue", ""), ("a metallic", ""), ("a striped", ""))  # fmt: skip
PLAIN, WORDED = range(4), {6: "red", 7: "blue"}  # numbers of prompts that leave the colour, and that name one
METHODS = ("instant", "coupled", "paper", "textual-inversion", "dreambooth", "dreambooth-lora", "custom-diffusion",
           "ip-adapter", "words")  # fmt: skip
SHOWN = ((0, 0), (0, 1), (2, 0), (4, 1), (6, 0), (7, 1), (8, 0), (9, 1))  # prompts and pictures of `sheet`
COLUMNS = {"dino": "DINO ↑", "clip_i": "CLIP-I ↑", "clip_t": "CLIP-T ↑", "color": "colour error ↓",
           "shape": "shape error ↓", "obeyed": "obeyed ↑", "seconds": "CPU s to learn ↓"}  # fmt: skip


@dataclass(frozen=True)
class Options:
    """What to run.

    Attributes:
        out: folder for everything.
        subjects: how many.
        methods: what learns them.
        pictures: of each prompt.
        steps: of learning; left out, the presets.
        ddim: steps of sampling.
        device: cpu or cuda.
    """

    out: Path = Path("outputs/dreambench")
    subjects: int = 30
    methods: tuple[str, ...] = METHODS
    pictures: int = 4
    steps: int | None = None
    ddim: int = 20
    device: str = DEVICE


@dataclass(frozen=True)
class Subject:
    """One object of the miniature world."""

    number: int

    @property
    def name(self) -> str:
        return f"{self.number:02d}-{self.family}"

    @property
    def family(self) -> str:
        return list(FAMILIES)[self.number % len(FAMILIES)]

    def spec(self) -> ObjectSpec:
        return build(self.family, np.random.default_rng([17, self.number]))


def run(options: Annotated[Options, arg(name="")]) -> None:
    """Make what is missing."""
    torch.set_num_threads(1)
    for subject, method in product(map(Subject, range(options.subjects)), options.methods):
        path = options.out / "cells" / subject.name / method / "scores.json"
        with claimed(path.parent) as mine:
            if mine and not path.is_file():
                write_json(
                    path, {"subject": subject.name, "method": method} | make(options, subject, method, path.parent)
                )
                print(path.read_text(), flush=True)


def make(options: Options, subject: Subject, method: str, folder: Path) -> dict[str, float | int | None]:
    """A method's pictures of a subject, and their scores."""
    references = options.out / "dataset" / subject.name
    write_references(references, subject)
    load_backbone("mini", options.device)
    began = process_time()
    result = made(options, subject, method, folder)
    seconds = round(process_time() - began, 2)
    pictures = sampled(options, subject, result)
    write_pictures(options.out / method / "generated" / subject.name, pictures)
    return {"steps": options.steps, **scores(subject, references, pictures), "seconds": seconds}


def write_references(folder: Path, subject: Subject) -> None:
    """Views from around the object on white, at changing heights."""
    if folder.is_dir():
        return
    azimuths = torch.arange(VIEWS) * 360.0 / VIEWS
    one = torch.ones(VIEWS)
    elevations = torch.tensor([5.0, 20.0, 10.0, 25.0, 15.0])
    fov, distance = MINI_CAMERAS.fov_deg[0], MINI_CAMERAS.distance[0]
    cameras = orbit(azimuths, elevations, one * distance / math.tan(math.radians(fov / 2)), one * fov)
    spec = subject.spec()
    views = composite(torch.from_numpy(render(spec.mesh(), cameras, 128, spec.surface())), torch.ones(VIEWS, 3))
    for index, view in enumerate(views):
        write_atomic(folder / f"{index:02d}.png", as_image(view / 2 + 0.5).save)


def made(options: Options, subject: Subject, method: str, folder: Path) -> Made:
    """What a method learns of a subject."""
    backbone, chosen = load_backbone("mini", options.device), {} if options.steps is None else {"steps": options.steps}
    images = load_references(options.out / "dataset" / subject.name, SIZE)
    if method in ("instant", "coupled", "paper"):
        path = folder / "prompts.safetensors"
        if method == "instant":
            instant(backbone, load_apprentice(packaged_apprentice(backbone)), images).save(path)
        elif not path.is_file():
            learn(backbone, images, replace(preset_for(backbone, method), **chosen), path)
        return Made(path, "mini")
    words = {"words": (subject.family,)} if "words" in USED[method] else {}
    chosen = chosen if "steps" in USED[method] else {}
    return make_baseline(backbone, images, preset(backbone, method, **words, **chosen), folder)


def sampled(options: Options, subject: Subject, result: Made) -> Tensor:
    """[prompts, pictures, 3, S, S] in [0, 1]."""
    backbone, source = load_backbone(result.backbone, options.device), load_distribution(result.prompts)
    draws = [
        source.draw(number * options.pictures + index, 1.0, *worded(source, prefix, suffix))
        for number, (prefix, suffix) in enumerate(PROMPTS)
        for index in range(options.pictures)
    ]
    how = Sampling(steps=options.ddim, rescale=rescale_for(backbone))
    return sample_pictures(backbone, source, draws, how).unflatten(0, (len(PROMPTS), options.pictures))


def worded(source: PromptSource, prefix: str, suffix: str) -> tuple[str | None, str | None]:
    """A prompt's words around what was learned, which may bring words of its own: "a red" sks "mushroom, back view"."""
    own = source.suffix if isinstance(source, PromptDistribution) else ""
    article_alone = "a" if source.metadata.get("method") in ("words", "ip-adapter") else None
    return prefix or article_alone, f"{own}{suffix}" or None


def write_pictures(folder: Path, pictures: Tensor) -> None:
    """As DreamBench lays them out: PROMPT/INDEX.png."""
    for number, several in enumerate(pictures):
        for index, picture in enumerate(several):
            write_atomic(folder / f"{number:02d}" / f"{index}.png", as_image(picture).save)


def scores(subject: Subject, references: Path, pictures: Tensor) -> dict[str, float]:
    """Of [prompts, pictures, 3, S, S]."""
    clip, dino = MiniClip(), MiniDino()
    seen, flat = load_references(references, SIZE).pixels / 2 + 0.5, pictures.flatten(0, 1)
    by_clip, texts = clip.encode(flat), clip.encode_text([text_of(subject, *words) for words in PROMPTS])
    result = {
        "dino": float((dino.encode(flat) @ dino.encode(seen).T).mean()),
        "clip_i": float((by_clip @ clip.encode(seen).T).mean()),
        "clip_t": float((by_clip * texts.repeat_interleave(pictures.shape[1], 0)).sum(dim=1).mean()),
    }
    plain = pictures[list(PLAIN)].flatten(0, 1)
    truth = torch.tensor(subject.spec().main_rgb)
    colors = [c for picture in plain if (c := dominant_color(picture, subject.family)) is not None]
    shapes = [math.log(p) for picture in plain if (p := proportions(picture)) is not None]
    own = [math.log(p) for picture in seen if (p := proportions(picture)) is not None]
    if colors and shapes:
        result["color"] = float((torch.stack(colors) - truth).norm(dim=1).mean())
        result["shape"] = abs(float(np.mean(shapes)) - float(np.mean(own)))
    asked = [(color, picture) for number, color in WORDED.items() for picture in pictures[number]]
    given = [(color, dominant_color(picture, subject.family)) for color, picture in asked]
    result["obeyed"] = sum(rgb is not None and color_name(rgb) == color for color, rgb in given) / len(given)
    return {name: round(value, 4) for name, value in result.items()}


def text_of(subject: Subject, prefix: str, suffix: str) -> str:
    """What CLIP-T compares with: "a red mushroom", "a mushroom, back view"."""
    return f"{prefix} {subject.family}{suffix}" if prefix else f"{article(subject.family)}{suffix}"


def table(out: Path = Path("outputs/dreambench"), subjects: int | None = None, taught: bool = False) -> None:
    """Print means over subjects, ± half of a 95 % t interval; write `subjects.csv`.

    Args:
        out: of `run`.
        subjects: that are meant over, the first; left out, all that are there.
        taught: only those of families that the packaged apprentice was taught.
    """
    rows = [json.loads(path.read_text()) for path in sorted((out / "cells").glob("*/*/scores.json"))]
    text = io.StringIO()
    writer = csv.DictWriter(text, ["subject", "method", "steps", *COLUMNS], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(out / "subjects.csv", text.getvalue())
    found: dict[str, list[dict]] = defaultdict(list)
    for row in rows:
        number, _, family = row["subject"].partition("-")
        if (subjects is None or int(number) < subjects) and not (taught and family in UNKNOWN):
            found[row["method"]].append(row)
    print(f"| | subjects | {' | '.join(COLUMNS.values())} |")
    print("|" + "---|" * (len(COLUMNS) + 2))
    for method in (name for name in METHODS if name in found):
        cells = [shown([row[key] for row in found[method] if key in row]) for key in COLUMNS]
        print(f"| {method} | {len(found[method])} | {' | '.join(cells)} |")


def sheet(
    out: Path = Path("outputs/dreambench"),
    subjects: int = 3,
    methods: tuple[str, ...] = ("instant", "coupled", "textual-inversion", "dreambooth-lora", "words"),
) -> None:
    """Write `sheet.png`: for each object a row a method, three of its views and eight pictures."""
    rows = []
    for subject, method in product(map(Subject, range(subjects)), methods):
        made = out / method / "generated" / subject.name
        views = sorted((out / "dataset" / subject.name).glob("*.png"))[:3]
        paths = [*views, *(made / f"{prompt:02d}" / f"{index}.png" for prompt, index in SHOWN)]
        rows.append([load_picture(path, SIZE) for path in paths])
    save_grid(rows, out / "sheet.png", 1)


def load_picture(path: Path, size: int) -> Tensor:
    """[3, size, size] in [0, 1]."""
    return torch.from_numpy(read_picture(path, size)) / 2 + 0.5


def shown(values: Sequence[float]) -> str:
    if not values:
        return ""
    estimate = jackknife_mean(AssetMean(torch.tensor(values, dtype=torch.float64)))
    reach = "" if estimate.high is None else f" ± {estimate.high - estimate.value:.2f}"
    return f"{estimate.value:.2f}{reach}"


if __name__ == "__main__":
    tyro.extras.subcommand_cli_from_dict({"run": run, "table": table, "sheet": sheet})
