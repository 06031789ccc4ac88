"""Two roads from a draw to a shape, and remedies for both, on the same draws of the same distributions.

    python benchmarks/lifts.py make --out outputs/lifts --methods distill views --draws 8
    python benchmarks/lifts.py table --out outputs/lifts

Draw i has seed i and lift seed i in every method. `make` goes draw by draw, so that whatever is there can be compared;
what is there is not made again, and a stopped asset goes on. `table` scores the draws that every method it is given
has, and writes `lifts.json`, `lifts.md` and a contact sheet for each family (rows: the draw's own views, then the
methods; columns: draws).
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import json
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
import tyro
from torch import Tensor

import study
from attributes import family_hits
from dreamdist3d.backbones import Backbone, load_backbone
from dreamdist3d.config import RunConfig, load_config
from dreamdist3d.errors import Stopped, UserError
from dreamdist3d.eval import MiniClip, MiniDino, mean_pairwise_similarity
from dreamdist3d.eval.flags import janus_suspects
from dreamdist3d.files import write_json, write_text
from dreamdist3d.guidance import Condition
from dreamdist3d.lift import load_field, render_silhouettes
from dreamdist3d.lift.cameras import orbit
from dreamdist3d.mesh import read_mesh
from dreamdist3d.mesh.axes import to_world
from dreamdist3d.mesh.painted import Painted
from dreamdist3d.mesh.render import Pictures, framed, render
from dreamdist3d.mini.grids import save_grid
from dreamdist3d.mini.measures import color_spread
from dreamdist3d.mini.references import write_references
from dreamdist3d.prompts import PromptDistribution, SoftPromptEncoder, load_references
from dreamdist3d.randomness import generator_for
from dreamdist3d.roads.artist import Artist, Order
from dreamdist3d.roads.cut import cut_out
from dreamdist3d.roads.views import first_cameras
from dreamdist3d.runs.one import run_once
from dreamdist3d.runs.trial import Trial

VIEWS = "system.lift.views"
METHODS: dict[str, list[str]] = {
    "distill": ["system.lift.kind=distill", "system.guidance.noise=fresh"],
    "distill, fixed noise": ["system.lift.kind=distill", "system.guidance.noise=fixed"],
    "distill, low noise": [
        "system.lift.kind=distill",
        "system.guidance.noise=fresh",
        "system.guidance.max_timestep=[0.8,0.2]",
    ],
    "distill, 3-step targets": [
        "system.lift.kind=distill",
        "system.guidance.noise=fresh",
        "system.guidance.target_steps=3",
        "trainer.max_steps=150",
    ],
    "distill, vsd": ["system.lift.kind=distill", "system.guidance.kind=vsd"],
    "views": ["system.lift.kind=views"],
    "views, not polished": ["system.lift.kind=views", f"{VIEWS}.steps=60", f"{VIEWS}.polish.start=1"],
    "views, redrawn": ["system.lift.kind=views", f"{VIEWS}.rounds=2", f"{VIEWS}.redrawn=[0.25,0.45]"],
    "views, redrawn, not polished": [
        "system.lift.kind=views",
        f"{VIEWS}.steps=100",
        f"{VIEWS}.rounds=2",
        f"{VIEWS}.redrawn=[0.5,0.8]",
        f"{VIEWS}.polish.start=1",
    ],
    "views, four": ["system.lift.kind=views", f"{VIEWS}.count=4"],
}
SIZE, ELEVATION_DEG = 128, 15.0
STANDARD = [0.0, 90.0, 180.0, 270.0]
UNSEEN = [22.5 + 45 * number for number in range(8)]
COLUMNS = {
    "cpu_s": "CPU s, all",
    "lift_cpu_s": "CPU s, lift",
    "evaluations": "UNet evaluations",
    "family": "family, 4 views",
    "family_unseen": "family, 8 unseen azimuths",
    "agree_dino": "agreement, mini-DINO",
    "agree_clip": "agreement, mini-CLIP",
    "outline": "agreement, outlines",
    "fog": "fog",
    "watertight": "watertight",
    "colors": "colour spread",
    "similarity": "similarity, mini-DINO",
    "janus": "Janus flags",
}


@dataclass(frozen=True)
class Options:
    """What to make or to score.

    Attributes:
        out: folder for everything.
        families: what the references show.
        methods: keys of METHODS.
        first: the first draw; those that something was tuned on are left out so.
        draws: one after the last.
        source: "distribution", or "textual-inversion" (one prompt; the lifts' seeds alone differ).
    """

    out: Path = Path("outputs/lifts")
    families: tuple[str, ...] = ("mushroom", "rocket", "house")
    methods: tuple[str, ...] = ("distill", "views")
    first: int = 0
    draws: int = 8
    source: str = "distribution"


def make(options: Options) -> None:
    """Learn what is not learned yet, then lift, draw by draw."""
    for family in options.families:
        references = options.out / "references" / family
        if not references.is_dir():
            write_references(references, family)
        study.train(references, learned(options, family), {} if options.source == "distribution" else {"prompts": 1})
    for draw in range(options.first, options.draws):
        for family in options.families:
            for method in options.methods:
                make_one(config_of(options, family, method, draw))


def config_of(options: Options, family: str, method: str, draw: int) -> RunConfig:
    """One asset's."""
    folder = options.out / options.source / family
    processor = "system.prompt_processor"
    where = [f"exp_root_dir={folder}", f"name={method.replace(', ', '-').replace(' ', '-')}", f"tag={draw:03d}"]
    what = [f"seed={draw}", f"{processor}.draw_seed={draw}", f"{processor}.distribution={learned(options, family)}"]
    return load_config(study.CONFIG, [*where, *what, *METHODS[method]])


def learned(options: Options, family: str) -> Path:
    return options.out / "learned" / f"{family}-{options.source}.safetensors"


def trial_of(config: RunConfig) -> Trial:
    return Trial(Path(config.exp_root_dir) / config.name / config.tag)


def make_one(config: RunConfig) -> None:
    """Lift, show and export; beside it `cost.json`. One that fails is named, and the others are made."""
    path = trial_of(config).folder / "cost.json"
    if path.exists():
        return
    counted, forward = [0.0], study_forward()
    hook = torch.nn.modules.module.register_module_forward_hook(lambda module, args, out: forward(module, out, counted))
    began = time.process_time()
    try:
        trial = run_once(config)
    except Stopped:
        raise
    except UserError as error:
        print(f"{trial_of(config).folder}: {error}", flush=True)
        return
    finally:
        hook.remove()
    cost = {"cpu_s": time.process_time() - began, "evaluations": counted[0]}
    cost["lift_share"] = (timings := trial.manifest().timings)["lift"] / sum(timings.values())
    write_json(path, cost)
    print(f"{trial.folder}: {cost['cpu_s']:.1f} CPU s, {cost['evaluations']:.0f} evaluations", flush=True)


def study_forward() -> Any:
    """Counts the UNet's four-view evaluations: 2 (guidance) x 4 views are one."""
    from diffusers import UNet2DConditionModel

    def forward(module: torch.nn.Module, out: Any, counted: list[float]) -> None:
        if isinstance(module, UNet2DConditionModel):
            counted[0] += len(out.sample) / 8

    return forward


@dataclass(frozen=True, eq=False)
class Judged:
    """One asset and the draw's own views, as the judges see them."""

    standard: Tensor  # [4, 3, S, S]
    own: Tensor  # [4, 3, S, S]
    scores: dict[str, float]
    features: Tensor  # [4, D], mini-DINO


def table(options: Options) -> None:
    """Score, print, write."""
    rows: dict[str, dict[str, dict[str, float]]] = {method: {} for method in options.methods}
    for family in options.families:
        configs = {m: [config_of(options, family, m, draw) for draw in range(options.draws)] for m in options.methods}
        draws = range(options.first, options.draws)
        common = [draw for draw in draws if all(is_made(configs[m][draw]) for m in options.methods)]
        if not common:
            print(f"{family}: no draw that every method has", flush=True)
            continue
        judged = {m: [judge(options, family, configs[m][draw]) for draw in common] for m in options.methods}
        for method in options.methods:
            rows[method][family] = scores_of(options, family, judged[method])
        first = judged[options.methods[0]]
        sheet = [[one.own[0] for one in first], *([one.standard[0] for one in judged[m]] for m in options.methods)]
        turned = [[one.own[1] for one in first], *([one.standard[1] for one in judged[m]] for m in options.methods)]
        save_grid(
            [[*a, *b] for a, b in zip(sheet, turned, strict=True)], options.out / f"{options.source}-{family}.png", 1
        )
    write_json(options.out / f"{options.source}.json", rows)
    tables = [markdown("mean over families", {method: averaged(by) for method, by in rows.items() if by})]
    for family in options.families:
        if of_family := {method: by[family] for method, by in rows.items() if family in by}:
            tables.append(markdown(family, of_family))
    text = "\n\n".join(tables)
    write_text(options.out / f"{options.source}.md", text + "\n")
    print(text)


def is_made(config: RunConfig) -> bool:
    return (trial_of(config).folder / "cost.json").exists()


def judge(options: Options, family: str, config: RunConfig) -> Judged:
    """All that is said of one asset; kept beside it."""
    folder = trial_of(config).folder
    mesh = read_mesh(trial_of(config).mesh)
    standard, unseen = seen(mesh, STANDARD), seen(mesh, UNSEEN)
    own, outline = own_views(options, family, config.seed)
    clip, dino = judges()
    pictures = in_tensor(standard)
    features, wanted = dino.encode(list(pictures)), dino.encode(list(own))
    cost = json.loads((folder / "cost.json").read_text())
    _, alpha = render_silhouettes(load_field(folder / "ckpts" / "last.ckpt", config.lift()), config.lift())
    covered = torch.from_numpy(standard.alpha) > 0.5
    scores = {
        "cpu_s": cost["cpu_s"],
        "lift_cpu_s": cost["cpu_s"] * cost["lift_share"],
        "evaluations": cost["evaluations"],
        "family": share(family_hits(pictures, family, clip)),
        "family_unseen": share(family_hits(in_tensor(unseen), family, clip)),
        "agree_dino": float((features * wanted).sum(dim=-1).mean()),
        "agree_clip": float((clip.encode(list(pictures)) * clip.encode(list(own))).sum(dim=-1).mean()),
        "outline": float((covered & outline).sum() / (covered | outline).sum()),
        "fog": float((4 * alpha * (1 - alpha)).sum() / alpha.sum()),
        "watertight": float(mesh.is_watertight),
    }
    return Judged(pictures, own, scores, features)


def scores_of(options: Options, family: str, judged: Sequence[Judged]) -> dict[str, float]:
    """Means over assets, and what only a set has."""
    means = {key: statistics.mean(one.scores[key] for one in judged) for key in judged[0].scores}
    features = torch.stack([one.features for one in judged])
    references = judges()[1].encode(list(load_references(options.out / "references" / family, SIZE).pixels / 2 + 0.5))
    fronts = torch.stack([one.standard[0] for one in judged])
    means["janus"] = float(janus_suspects(features, references).sum())
    if len(judged) > 1:
        means["colors"] = color_spread(fronts, family)
        means["similarity"] = statistics.mean(mean_pairwise_similarity(features[:, view]) for view in range(4))
    return means | {"assets": len(judged)}


@lru_cache
def judges() -> tuple[MiniClip, MiniDino]:
    return MiniClip(), MiniDino()


@lru_cache
def backbone() -> Backbone:
    return load_backbone("mini")


def own_views(options: Options, family: str, draw: int) -> tuple[Tensor, Tensor]:
    """What `views` draws first: the draw's own four views on white [4, 3, S, S], their outlines bool [4, S, S]."""
    path = options.out / "own" / f"{options.source}-{family}-{draw:03d}.pt"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        config = config_of(options, family, "views", draw)
        views = config.system.lift.views
        source = PromptDistribution.load(learned(options, family))
        encoder = SoftPromptEncoder(backbone().tokenizer, backbone().text_encoder)
        with torch.no_grad():
            text = source.embed(source.draw(draw), encoder)
            condition = Condition(text, encoder.encode_text([""]).hidden[0])
        cameras = first_cameras(config.data, views.count, views.elevation_deg)
        order = Order(condition, cameras, generator_for(draw, "first views"))
        cutout = cut_out(Artist(backbone(), views).draw([order])[0])
        sides = [side * views.count // 4 for side in range(4)]
        torch.save({"rgb": cutout.rgb[sides], "alpha": cutout.alpha[sides]}, path)
    kept = torch.load(path, weights_only=True)
    alpha = torch.nn.functional.interpolate(kept["alpha"][:, None], (SIZE, SIZE), mode="bilinear")
    rgb = torch.nn.functional.interpolate(kept["rgb"], (SIZE, SIZE), mode="bilinear")
    return torch.lerp(torch.ones_like(rgb), rgb, alpha), alpha[:, 0] > 0.5


def seen(mesh: Any, azimuths: Sequence[float]) -> Pictures:
    """Renders of a mesh, framed and lit as the report's."""
    count = len(azimuths)
    numbers = [azimuths, [ELEVATION_DEG] * count, [1.55] * count, [40.0] * count]
    part = Painted.of(mesh)
    placed = framed([part.moved(to_world(part.vertices))], 0.5)
    return render(placed, orbit(*torch.tensor(numbers, dtype=torch.float64)), SIZE, supersample=2)


def in_tensor(pictures: Pictures) -> Tensor:
    return torch.from_numpy(pictures.rgb).movedim(-1, 1).float() / 255


def share(hits: Tensor) -> float:
    return float(hits.float().mean())


def averaged(by_family: dict[str, dict[str, float]]) -> dict[str, float]:
    """Means over families; assets and Janus flags are added up."""
    keys = [key for key in next(iter(by_family.values())) if all(key in row for row in by_family.values())]
    added = {"assets", "janus"}
    return {k: (sum if k in added else statistics.mean)(row[k] for row in by_family.values()) for k in keys}


def markdown(title: str, rows: dict[str, dict[str, float]]) -> str:
    """A row a score and a column a method."""
    heads = [f"{method} ({row['assets']:.0f})" for method, row in rows.items()]
    lines = [f"| {title} | {' | '.join(heads)} |", "|" + "---|" * (len(rows) + 1)]
    for key, name in COLUMNS.items():
        if any(key in row for row in rows.values()):
            decimals = 1 if key.endswith("_s") else 0 if key in ("evaluations", "janus") else 2
            cells = [f"{row[key]:.{decimals}f}" if key in row else "" for row in rows.values()]
            lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    tyro.extras.subcommand_cli_from_dict({"make": make, "table": table}, config=(tyro.conf.OmitArgPrefixes,))
