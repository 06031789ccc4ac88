"""The paper's Tables 2 and 3 in miniature: every method by families and seeds, and what the settings do.

    python benchmarks/tables_2d.py run --out outputs/tables-2d                      # methods; goes on where it was
    python benchmarks/tables_2d.py run --out outputs/tables-2d --study granularity few K M lambda gamma
    python benchmarks/tables_2d.py table --out outputs/tables-2d                    # tables, and cells.csv

A cell is one learning by one method. It leaves a folder below `cells/`: what the method left, `fresh.npy` (a picture of
each draw, each from a noise of its own), for methods with more than one prompt `matched.npy` (all from one noise), a
sheet of both, and `scores.json`. What is there is not made again; the same command started several times shares the
work. `--steps` and `--pictures` make it small; Fréchet distances need more than 128 pictures, FID 2049 and as many
held-out objects.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import tyro
from cells import DEVICE, claimed, copy_whole
from torch import Tensor
from tyro.conf import arg

from concepts import HELD_OUT, Concept, concept_of, first_references, write_concept
from dreamdist3d.apprentice import instant, load_apprentice, packaged_apprentice
from dreamdist3d.backbones import load_backbone
from dreamdist3d.baselines import Made, make_baseline, preset
from dreamdist3d.baselines.settings import METHODS as RIVALS, TUNED, USED
from dreamdist3d.eval.statistics import Estimate
from dreamdist3d.files import write_atomic, write_json
from dreamdist3d.mini.clusters import UNKNOWN
from dreamdist3d.mini.grids import save_grid
from dreamdist3d.prompts import PromptComposition, PromptDistribution, learn, load_distribution, preset_for
from dreamdist3d.prompts.looks.pictures import Sampling, rescale_for, sample_pictures
from tables_2d_scores import SIZE, scores
from tables_2d_table import write_tables

OURS: dict[str, dict[str, Any]] = {
    "coupled": {"objective": "coupled"},
    "paper": {"objective": "paper"},
    "paper-diagonal": {"objective": "paper", "covariance": "diagonal"},
}
INSTANT = "instant"
METHODS = (*OURS, INSTANT, *RIVALS)
REFERENCES = 20
FAMILIES = ("mushroom", "rocket", "house", "teapot", "bird", "chair")
STUDIES: dict[str, dict[str, Any]] = {
    "methods": {},
    "granularity": {"concepts": ("mushroom", "mushroom+rocket", "red"),
                    "methods": ("coupled", "paper", "textual-inversion", "dreambooth-lora", "custom-diffusion")},
    "few": {"references": (4, 8, 20), "methods": ("coupled", "paper", "textual-inversion", "dreambooth-lora")},
    "K": {"setting": "prompts", "values": (1, 4, 8, 16, 32)},
    "M": {"setting": "tokens", "values": (1, 2, 4, 8)},
    "lambda": {"setting": "ortho", "values": (0.0, 1e-3, 5e-3, 5e-2, 0.5)},
    "gamma": {"setting": "gamma", "values": (0.0, 0.5, 1.0, 1.5, 2.0)},
}  # fmt: skip


@dataclass(frozen=True)
class Options:
    """What to run.

    Attributes:
        out: folder for everything.
        study: names of `STUDIES`.
        families: for the study of methods; the other studies take the first.
        methods: left out, the study's.
        seeds: of the learnings.
        pictures: for each cell and kind of noise.
        held_out: objects that no learning sees.
        ddim: steps of sampling.
        steps: of learning; left out, each method's preset.
        device: cpu or cuda.
    """

    out: Path = Path("outputs/tables-2d")
    study: tuple[str, ...] = ("methods",)
    families: tuple[str, ...] = FAMILIES
    methods: tuple[str, ...] = ()
    seeds: tuple[int, ...] = (0, 1, 2)
    pictures: int = 256
    held_out: int = HELD_OUT
    ddim: int = 20
    steps: int | None = None
    device: str = DEVICE


@dataclass(frozen=True)
class Cell:
    """One learning, and how it is drawn from."""

    concept: Concept
    method: str
    seed: int
    references: int = REFERENCES
    setting: str = ""
    value: float = 0.0

    @property
    def name(self) -> str:
        parts = [self.concept.name, self.method]
        parts += [f"{self.references}refs"] * (self.references != REFERENCES)
        parts += [f"{self.setting}{self.value:g}"] * bool(self.setting)
        return "-".join([*parts, str(self.seed)])

    @property
    def learned(self) -> "Cell":
        """The cell that learns what this one draws from."""
        return replace(self, setting="", value=0.0) if self.setting == "gamma" else self


def cells_of(study: str, options: Options) -> Iterator[Cell]:
    """Every cell of a study, family by family, so that what is stopped has whole families."""
    told = STUDIES[study]
    concepts = told.get("concepts", options.families if study == "methods" else options.families[:1])
    if "setting" in told:
        methods: tuple[str, ...] = ("coupled", "paper")
    else:
        methods = told.get("methods", METHODS)
    for name, seed, method in product(concepts, options.seeds, options.methods or methods):
        concept = concept_of(name)
        if method == INSTANT and set(concept.families) & set(UNKNOWN):
            continue  # what `learn --instant` would not make, but say that it does not know
        for count, value in product(told.get("references", (REFERENCES,)), told.get("values", (0.0,))):
            yield Cell(concept, method, seed, count, told.get("setting", ""), value)


def run(options: Annotated[Options, arg(name="")]) -> None:
    """Make what is missing."""
    torch.set_num_threads(1)
    for cell in dict.fromkeys(cell for study in options.study for cell in cells_of(study, options)):
        # What a cell draws from is learned by the cell of the usual setting, which one process at a time may do.
        with claimed(folder(options, cell.learned)) as mine:
            if mine and not (folder(options, cell) / "scores.json").is_file():
                make(options, cell)


def make(options: Options, cell: Cell) -> None:
    """A cell's folder."""
    for kind, count, seed in (("references", max(REFERENCES, cell.references), 0), ("held-out", options.held_out, 1)):
        write_concept(options.out / kind / cell.concept.name, cell.concept, count, seed)
    pictures = {kind: sampled(options, cell, kind) for kind in kinds(made(options, cell.learned))}
    sheet(folder(options, cell) / "sheet.png", pictures)
    about = {"concept": cell.concept.name, "method": cell.method, "seed": cell.seed, "references": cell.references}
    told = {"setting": cell.setting, "value": cell.value, "pictures": options.pictures, "steps": options.steps}
    write_json(folder(options, cell) / "scores.json", {**about, **told} | judged(options.out, about, pictures))
    print(cell.name, flush=True)


def score(out: Path = Path("outputs/tables-2d")) -> None:
    """Score again the pictures that are there."""
    for path in sorted((out / "cells").glob("*/scores.json")):
        about = json.loads(path.read_text())
        pictures = {kind: read(path.with_name(f"{kind}.npy")) for kind in about["scores"]}
        write_json(path, about | judged(out, about, pictures))


def table(out: Path = Path("outputs/tables-2d"), family: str = FAMILIES[0], published: Path | None = None) -> None:
    """Print the means of what is there; write `cells.csv`, and `methods.png`, a row a method of one family.

    Args:
        out: of `run`.
        family: that is pictured.
        published: a `cells.csv`, such as docs/results-2d.csv, whose cells count where there are none here.
    """
    rows = [cell for cell in write_tables(out, published) if cell["references"] == REFERENCES and not cell["setting"]]
    rows = [cell for cell in rows if cell["concept"] == family]
    place = {cell["method"]: out / "cells" / f"{family}-{cell['method']}-{cell['seed']}" for cell in reversed(rows)}
    place = {method: folder for method, folder in place.items() if (folder / "scores.json").is_file()}
    if place:
        save_grid([beside(place[method]) for method in METHODS if method in place], out / "methods.png", 1)


def beside(place: Path) -> list[Tensor]:
    """Eight draws with a noise of their own each, a gap, and the same eight from one noise."""
    fresh, path = read(place / "fresh.npy")[:8], place / "matched.npy"
    # One prompt makes one picture of one noise, and that is the first draw's.
    matched = read(path)[:8] if path.is_file() else fresh[:1].expand(8, -1, -1, -1)
    return [*fresh, torch.ones(3, fresh.shape[-1], 16), *matched]


def folder(options: Options, cell: Cell) -> Path:
    return options.out / "cells" / cell.name


def made(options: Options, cell: Cell) -> Made:
    """What the cell's method leaves, made if it is not there."""
    place, references = folder(options, cell), options.out / "references" / cell.concept.name
    images = first_references(references, cell.references, SIZE)
    chosen: dict[str, Any] = {"seed": cell.seed} | ({} if options.steps is None else {"steps": options.steps})
    if cell.setting:
        chosen[cell.setting] = cell.value if cell.setting == "ortho" else int(cell.value)
    if cell.method in OURS:
        ours, backbone = OURS[cell.method], load_backbone("mini", options.device)
        path = place / "prompts.safetensors"
        if not path.is_file():
            learn(backbone, images, replace(preset_for(backbone, ours["objective"]), **ours, **chosen), path)
        return Made(path, "mini")
    backbone = load_backbone("mini", options.device)
    if cell.method == INSTANT:
        path = place / "prompts.safetensors"
        if not path.is_file():
            instant(backbone, load_apprentice(packaged_apprentice(backbone)), images).save(path)
        return Made(path, "mini")
    chosen = {key: value for key, value in chosen.items() if key in USED[cell.method]}
    if "words" in USED[cell.method]:
        texts = tuple(cell.concept.texts)
        chosen["words"] = (
            (cell.concept.noun,) if cell.method in TUNED else texts if cell.method == "words" else texts[:1]
        )
    share(options, cell)
    result = make_baseline(backbone, images, preset(backbone, cell.method, **chosen), place)
    keep(options, cell)
    return result


def shared(options: Options, cell: Cell) -> dict[str, Path]:
    """What several methods make alike, by its name in a cell, and where the first leaves it for the others."""
    store = options.out / "shared" / f"{cell.concept.name}-{cell.references}refs-{cell.seed}-{options.steps}"
    if cell.method in TUNED:
        return {"class": store / "class"}
    inverts = cell.method in ("textual-inversion", "textual-inversion-noise")
    return {"inversion.safetensors": store / "inversion.safetensors"} if inverts else {}


def share(options: Options, cell: Cell) -> None:
    """Give the cell what another has made."""
    for name, path in shared(options, cell).items():
        copy_whole(path, folder(options, cell) / name)


def keep(options: Options, cell: Cell) -> None:
    """Leave for others what the cell has made."""
    for name, path in shared(options, cell).items():
        copy_whole(folder(options, cell) / name, path)


def kinds(result: Made) -> tuple[str, ...]:
    """Of noise: from one noise a single prompt has a single picture."""
    source = load_distribution(result.prompts)
    many = isinstance(source, PromptComposition) or (isinstance(source, PromptDistribution) and len(source.tokens) > 1)
    return ("fresh", "matched") if many else ("fresh",)


def sampled(options: Options, cell: Cell, kind: str) -> Tensor:
    """[N, 3, S, S] in [0, 1]: draws 0 to N - 1."""
    path = folder(options, cell) / f"{kind}.npy"
    if not path.is_file():
        result = made(options, cell.learned)
        backbone, source = load_backbone(result.backbone, options.device), load_distribution(result.prompts)
        gamma = cell.value if cell.setting == "gamma" else 1.0
        draws = [source.draw(seed, gamma) for seed in range(options.pictures)]
        how = Sampling(
            steps=options.ddim, rescale=rescale_for(backbone), noise="fresh" if kind == "fresh" else "matched"
        )
        pictures = (sample_pictures(backbone, source, draws, how) * 255).round().byte().numpy()
        write_atomic(path, lambda temporary: np.save(temporary, pictures))
    return read(path)


def read(path: Path) -> Tensor:
    return torch.from_numpy(np.load(path)).float() / 255


def judged(out: Path, about: dict[str, Any], pictures: dict[str, Tensor]) -> dict[str, Any]:
    """`scores` by kind of noise; each has its standard error over pictures, and the degrees of freedom of that."""
    concept = concept_of(about["concept"])
    places = [out / kind / concept.name for kind in ("references", "held-out")]
    found = {kind: scores(several, concept, *places, about["references"]) for kind, several in pictures.items()}
    return {"scores": {kind: {name: kept(one) for name, one in row.items()} for kind, row in found.items()}}


def kept(one: Estimate) -> dict[str, float | None]:
    error = None if one.error is None else round(one.error, 6)
    return {"value": round(one.value, 6), "error": error, "degrees": one.degrees}


def sheet(path: Path, pictures: dict[str, Tensor]) -> None:
    """Two rows of sixteen of each kind of noise."""
    rows = [list(p[start : start + 16]) for p in pictures.values() for start in (0, 16) if len(p) >= start + 16]
    save_grid(rows or [list(p) for p in pictures.values()], path, 1)


if __name__ == "__main__":
    tyro.extras.subcommand_cli_from_dict({"run": run, "score": score, "table": table})
