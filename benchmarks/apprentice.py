"""Instant distributions beside learned ones, on clusters of the miniature world that nothing was trained on.

    python benchmarks/apprentice.py run --out outputs/apprentice       # cells that are there are not made again
    python benchmarks/apprentice.py known --out outputs/apprentice     # are strange pictures recognised as strange?
    python benchmarks/apprentice.py table --out outputs/apprentice
    python benchmarks/apprentice.py time                               # of one pass, models loaded

A cell is a cluster and a method. It leaves its distribution, its pictures (fresh noise, one noise, "a red") and its
scores. `met`: share of the references' main colours that a draw comes within 0.25 of, in RGB; `near`: share of draws
that come within 0.25 of a reference's; `family`: share that mini-CLIP calls by one of the references' families, among
all twenty; `spread`: mean distance of main colours; instances: distance of the main colour, and of height over width.
The method `references` draws nothing: its pictures are the references again, whose figures are the best there can be.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import json
import resource
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import tyro
from cells import DEVICE
from PIL import Image
from torch import Tensor
from tyro.conf import arg

from attributes import family_texts
from dreamdist3d.apprentice import instant, load_apprentice, packaged_apprentice
from dreamdist3d.apprentice.inputs import patches_of
from dreamdist3d.apprentice.instant import distribution_of
from dreamdist3d.backbones import Backbone, load_backbone, sample_images, see_references
from dreamdist3d.eval.features.mini import MiniClip, MiniDino
from dreamdist3d.files import write_atomic, write_json
from dreamdist3d.mini.clusters import UNKNOWN, VIEWS, eight_words, object_pictures
from dreamdist3d.mini.families import FAMILIES
from dreamdist3d.mini.grids import save_grid
from dreamdist3d.mini.measures import color_name, dominant_color, proportions
from dreamdist3d.prompts import (
    PromptDistribution,
    ReferenceImages,
    SoftPromptEncoder,
    config_from,
    learn,
    load_references,
    preset_for,
)
from dreamdist3d.prompts.learning.coupling import LIMIT
from dreamdist3d.prompts.learning.images import encode_references
from dreamdist3d.prompts.looks.pictures import Sampling, initial_noise, rescale_for

WORLD = 7001  # a world that no apprentice was trained on
NEAR = 0.25
KINDS = {"fresh": ("fresh", ""), "one noise": ("matched", ""), "a red": ("fresh", "a red")}  # noise, and words before
METHODS = ("references", "instant", "details", "words", "learned", "warm30", "inversion")
CLUSTERS = ("mushroom-20", "house-20", "rocket-3", "car-views", "teapot-views", "mug-red", "mushroom+rocket", "lamp-20")


@dataclass(frozen=True)
class Options:
    """What to run.

    Attributes:
        out: folder for everything.
        clusters: a family and how many references, `views` (five of one object), or a colour; or two families.
        methods: `words` are captions of the references, which nothing else gets; `details` only of views.
        draws: pictures of each kind.
        steps: of DDIM.
        device: cpu or cuda.
    """

    out: Path = Path("outputs/apprentice")
    clusters: tuple[str, ...] = CLUSTERS
    methods: tuple[str, ...] = METHODS
    draws: int = 32
    steps: int = 16
    device: str = DEVICE


def run(options: Annotated[Options, arg(name="")]) -> None:
    """Make what is missing."""
    torch.set_num_threads(1)
    backbone = load_backbone("mini", options.device)
    judges = MiniClip(), MiniDino()
    for name in options.clusters:
        folder = options.out / "references" / name
        truth = write_cluster(folder, name)
        references = load_references(folder, backbone.image_size)
        for method in options.methods:
            path = options.out / "cells" / f"{name}-{method}.json"
            if path.exists() or (method == "details" and not name.endswith("views")):
                continue
            if method == "references":
                row = scores({"fresh": references.pixels / 2 + 0.5}, references, name, judges, path)
            else:
                began = cpu_seconds()
                made = MAKERS[method](backbone, references, truth, path.with_suffix(".safetensors"))
                row = {"seconds": cpu_seconds() - began, "knownness": made.metadata.get("knownness", "")}
                row |= scores(drawn(backbone, made, options), references, name, judges, path)
            write_json(path, {"cluster": name, "method": method, **row})
            print(name, method, row, flush=True)


def write_cluster(folder: Path, name: str) -> list[dict]:
    """Write the references of a cluster; what is true of each, for the method that gets captions."""
    known = folder.parent / f"{name}.json"
    if not known.exists():
        folder.mkdir(parents=True, exist_ok=True)
        write_json(known, [one for one in _write(folder, name) if one])
    return json.loads(known.read_text())


def _write(folder: Path, name: str) -> list[dict]:
    if "+" in name:
        return [one for family in name.split("+") for one in _objects(folder, family, 10)]
    family, what = name.split("-")
    if what == "views":
        made = _object(family, 0)
        return [_save(folder, made, view) for view in range(5)]
    return _objects(folder, family, 8 if what in ("red",) else int(what), what if not what.isdigit() else "")


def _objects(folder: Path, family: str, count: int, color: str = "") -> list[dict]:
    found, index = [], 0
    while len(found) < count:
        made, index = _object(family, index), index + 1
        if color in ("", made.truth["main_color"]):
            found.append(_save(folder, made, index % VIEWS))
    return found


def _object(family: str, index: int):
    return object_pictures(WORLD, list(FAMILIES).index(family) + len(FAMILIES) * index)


def _save(folder: Path, made, view: int) -> dict:
    number = len(list(folder.glob("*.png")))
    pixels = ((made.pixels[view] + 1) * 127.5).round().byte().permute(1, 2, 0).numpy()
    Image.fromarray(pixels).save(folder / f"{number:03d}.png")
    return made.truth


def make_instant(backbone, references, truth, path, details=False) -> PromptDistribution:
    return instant(backbone, load_apprentice(packaged_apprentice(backbone)), references, details=details)


def make_details(backbone, references, truth, path) -> PromptDistribution:
    return make_instant(backbone, references, truth, path, details=True)


def make_words(backbone, references, truth, path) -> PromptDistribution:
    """Captions of as many words as an instant prompt has tokens, by their own vectors."""
    encoder = SoftPromptEncoder(backbone.tokenizer, backbone.text_encoder)
    tokens = torch.stack([encoder.word_vectors(eight_words(one))[:8] for one in truth])
    tokens = tokens[torch.arange(max(32, len(tokens))) % len(tokens)]
    return PromptDistribution(tokens, "low_rank", backbone.fingerprint, limit=LIMIT)


def make_learned(backbone, references, truth, path) -> PromptDistribution:
    return learn(backbone, references, preset_for(backbone), path)


def make_warm(backbone, references, truth, path) -> PromptDistribution:
    start = make_instant(backbone, references, truth, path)
    config = replace(config_from(start, preset_for(backbone)), steps=30)
    return learn(backbone, references, config, path, start=start)


def make_inversion(backbone, references, truth, path) -> PromptDistribution:
    return learn(backbone, references, replace(preset_for(backbone), prompts=1), path)


MAKERS = dict(
    zip(METHODS[1:], (make_instant, make_details, make_words, make_learned, make_warm, make_inversion), strict=True)
)


@torch.no_grad()
def scores(
    drawn: dict[str, Tensor],  # [N, 3, S, S] of each of `KINDS`, or of the first
    references: ReferenceImages,
    name: str,
    judges: tuple[MiniClip, MiniDino],
    path: Path,
) -> dict[str, float]:
    """All scores of a method's draws, whose pictures are left beside the cell."""
    clip, dino = judges
    families = [part.split("-")[0] for part in name.split("+")]
    texts, own = family_texts(clip), torch.tensor([list(FAMILIES).index(family) for family in families])
    known, row = references.pixels / 2 + 0.5, {}
    theirs = main_colors(known, families[0])
    theirs = theirs[~theirs.isnan().any(1)]
    for kind, made in drawn.items():
        hits = (clip.encode(made) @ texts.T).argmax(1)
        row[f"{kind}, family"] = float((hits[:, None] == own).any(1).float().mean())
        colors = main_colors(made, families[0])
        colors = colors[~colors.isnan().any(1)]
        if kind == "a red":
            row[kind] = sum(color_name(color) == "red" for color in colors) / len(made)
            continue
        apart = torch.cdist(theirs, colors)
        row[f"{kind}, met"] = float((apart.min(1).values < NEAR).float().mean())
        row[f"{kind}, near"] = float((apart.min(0).values < NEAR).float().sum()) / len(made)
        row[f"{kind}, spread"] = float(torch.pdist(colors).mean())
        if kind == "fresh":
            row["CLIP-I"] = float((clip.encode(made) @ clip.encode(known).T).mean())
            row["DINO"] = float((dino.encode(made) @ dino.encode(known).T).mean())
        if kind == "fresh" and name.endswith("views"):
            row["colour error"] = float((colors - theirs.mean(0)).norm(dim=1).mean())
            heights = [p for picture in made if (p := proportions(picture)) is not None]
            wanted = statistics.mean(p for picture in known if (p := proportions(picture)) is not None)
            row["shape error"] = statistics.mean(abs(np.log(p / wanted)) for p in heights)
    save_grid(
        [list(part[torch.arange(16) % len(part)]) for part in (known, *drawn.values())], path.with_suffix(".png"), 1
    )
    return {key: round(value, 4) for key, value in row.items()}


def drawn(backbone: Backbone, made: PromptDistribution, options: Options) -> dict[str, Tensor]:
    """The pictures of a distribution, of each of `KINDS`."""
    see_references(backbone, made.reference_attention)
    return {kind: pictures(backbone, made, options, *how) for kind, how in KINDS.items()}


def pictures(backbone: Backbone, made: PromptDistribution, options: Options, noise: str, prefix: str) -> Tensor:
    """[N, 3, S, S] in [0, 1]."""
    encoder = SoftPromptEncoder(backbone.tokenizer, backbone.text_encoder)
    moments = made.moments(encoder, prefix or None)
    text = torch.stack([made.draw(seed).embed(moments) for seed in range(options.draws)])
    shape = (backbone.unet.config.in_channels, *[backbone.unet.config.sample_size] * 2)
    start = initial_noise(shape, options.draws, Sampling(noise=noise))
    negative = encoder.encode_text([""]).hidden[0]
    return torch.cat(
        [
            sample_images(backbone, t, negative, n, 7.5, options.steps, rescale=rescale_for(backbone)).float().cpu()
            for t, n in zip(text.split(16), start.split(16), strict=True)
        ]
    )


def main_colors(found: Tensor, family: str) -> Tensor:
    """[N, 3], NaN where nothing stands out."""
    colors = [dominant_color(picture, family) for picture in found]
    return torch.stack([torch.full((3,), torch.nan) if color is None else color for color in colors])


def known(out: Path = Path("outputs/apprentice"), clusters: int = 8, sizes: tuple[int, ...] = (3, 5, 20)) -> None:
    """How many clusters of every family of another world are called known."""
    torch.set_num_threads(1)
    backbone = load_backbone("mini")
    trained = load_apprentice(packaged_apprentice(backbone))
    found: dict[str, dict[str, list[float]]] = {}
    for family in FAMILIES:
        pixels = torch.stack([_object(family, index).pixels[index % VIEWS] for index in range(clusters * 5)])
        latents = encode_references(backbone, pixels).mean
        for size in sizes:
            for number in range(clusters):
                drawing = torch.Generator().manual_seed(1000 * size + number)
                own = latents[torch.randperm(len(latents), generator=drawing)[:size]]
                made = distribution_of(backbone, trained, patches_of(own), own)
                found.setdefault(family, {}).setdefault(str(size), []).append(float(made.metadata["knownness"]))
        print(family, {size: sum(v < 0.03 for v in values) / clusters for size, values in found[family].items()})
    write_json(out / "known.json", found)
    for size in map(str, sizes):
        for title, families in (("known", [f for f in FAMILIES if f not in UNKNOWN]), ("unknown", list(UNKNOWN))):
            values = [v for family in families for v in found[family][size]]
            print(f"{size} pictures, {title}: {sum(v < 0.03 for v in values) / len(values):.3f} called unknown")


def time(pictures: int = 20, repeats: int = 10) -> None:
    """Median CPU seconds of one pass over `pictures` mushrooms, models loaded: of the whole, and of its parts."""
    torch.set_num_threads(1)
    backbone = load_backbone("mini")
    trained = load_apprentice(packaged_apprentice(backbone))
    pixels = torch.stack([_object("mushroom", index).pixels[index % VIEWS] for index in range(pictures)])
    references = ReferenceImages(pixels, [Path(f"{index}.png") for index in range(pictures)], [])
    latents = encode_references(backbone, pixels).mean.float()
    patches = patches_of(latents)
    parts = {
        "all": lambda: instant(backbone, trained, references),
        "autoencoder": lambda: encode_references(backbone, pixels),
        "network and knownness": lambda: distribution_of(backbone, trained, patches, latents),
        "network": lambda: trained.apprentice(patches[None]),
    }
    with torch.no_grad():
        for name, part in parts.items():
            part()
            taken = [seconds_of(part) for _ in range(repeats)]
            print(f"{name}: {statistics.median(taken):.3f} s")


def seconds_of(part: Callable[[], object]) -> float:
    """CPU seconds that it takes."""
    began = cpu_seconds()
    part()
    return cpu_seconds() - began


def table(out: Path = Path("outputs/apprentice")) -> None:
    """Print what is there."""
    cells = [json.loads(path.read_text()) for path in sorted((out / "cells").glob("*.json"))]
    columns = list(dict.fromkeys(key for cell in cells for key in cell if key not in ("cluster", "method")))
    print(f"| cluster | method | {' | '.join(columns)} |\n|---|---|{'---|' * len(columns)}")
    for cell in sorted(cells, key=lambda one: (CLUSTERS.index(one["cluster"]), METHODS.index(one["method"]))):
        print(f"| {cell['cluster']} | {cell['method']} | {' | '.join(shown(cell.get(c, '')) for c in columns)} |")


def shown(value: object) -> str:
    return f"{value:.2f}" if isinstance(value, float) else str(value)


def cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def sheet(out: Path, paths: Sequence[Path]) -> None:
    """Several cells' pictures below one another."""
    images = [Image.open(path) for path in paths]
    whole = Image.new("RGB", (max(i.width for i in images), sum(i.height for i in images)), "white")
    top = 0
    for image in images:
        whole.paste(image, (0, top))
        top += image.height
    write_atomic(out, whole.save)


if __name__ == "__main__":
    tyro.extras.subcommand_cli_from_dict({"run": run, "known": known, "table": table, "time": time, "sheet": sheet})
