"""The assets of the miniature Table 4: three families, eight lifts of each by every method.

    python benchmarks/table4_lifts.py --out outputs/table4

Methods: the prompt distribution (K = 32), the same as the paper learns it, textual inversion (K = 1), the packaged
apprentice's instant distribution, and every baseline that `dreamdist3d baseline` makes, at its preset. All have the
same references; lift i of every method has seed i and draw seed i. What is there already is not made again; another
training (`--seed 1`) wants another folder.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro

import study
from concepts import article
from dreamdist3d.baselines import Made
from dreamdist3d.baselines.settings import METHODS as RIVALS, TUNED, USED
from dreamdist3d.mini.references import write_references

OURS: dict[str, dict] = {"distribution": {}, "paper": {"objective": "paper"}, "textual-inversion": {"prompts": 1}}
INSTANT = "instant"
METHODS = (*OURS, INSTANT, *(method for method in RIVALS if method not in OURS))


@dataclass(frozen=True)
class Options:
    """What to make.

    Attributes:
        out: folder for everything.
        families: what the references show.
        methods: of METHODS.
        assets: lifts of each method and family.
        seed: of the learnings.
        workers: processes.
        overrides: key=value for the configuration of every lift.
    """

    out: Path = Path("outputs/table4")
    families: tuple[str, ...] = ("mushroom", "rocket", "house")
    methods: tuple[str, ...] = METHODS
    assets: int = 8
    seed: int = 0
    workers: int = os.cpu_count() or 1
    overrides: tuple[str, ...] = ()


def main() -> None:
    make(tyro.cli(Options, description=__doc__))


def make(options: Options) -> None:
    """Everything that `set_folder` names, for all families."""
    for family in options.families:
        write_references(references(options, family), family)
    tasks = [learning(options, family, method) for family in options.families for method in options.methods]
    with study.pool(options.workers) as pool:
        for waiting in [pool.submit(*task) for task in tasks]:
            waiting.result()
    for family in options.families:
        for method in options.methods:
            made, folder = learned(options, family, method), set_folder(options, family, method)
            words = (f"system.backbone={made.backbone}", *options.overrides)
            study.lift_batch(folder, made.prompts, options.assets, options.workers, 0, *words)


def learning(options: Options, family: str, method: str) -> tuple[Any, ...]:
    """What another process is to call, and with what, so that a method has learned a family."""
    shown, path = references(options, family), learned(options, family, method).prompts
    if method in OURS:
        return (study.train, shown, path, OURS[method] | {"seed": options.seed})
    if method == INSTANT:
        return (study.make_instant, shown, path)
    settings: dict[str, Any] = {"seed": options.seed} if "seed" in USED[method] else {}
    if "words" in USED[method]:
        settings["words"] = (family if method in TUNED else article(family),)
    return (study.make_rival, shown, path.parent, method, settings)


def references(options: Options, family: str) -> Path:
    """The folder of a family's reference pictures."""
    return options.out / "references" / family


def learned(options: Options, family: str, method: str) -> Made:
    """What a method leaves of a family."""
    folder = options.out / "learned"
    if method in OURS or method == INSTANT:
        return Made(folder / f"{family}-{method}.safetensors", "mini")
    place = folder / f"{family}-{method}"
    return Made(place / "prompts.safetensors", str(place / "backbone") if method in TUNED else "mini")


def set_folder(options: Options, family: str, method: str) -> Path:
    """Where a method's assets of a family are."""
    return options.out / family / method


if __name__ == "__main__":
    main()
