"""The assets of the miniature Table 4: three families, eight lifts of each by every method.

    python benchmarks/table4_lifts.py --out outputs/table4

Methods: the prompt distribution (K = 32), the same as the paper learns it, textual inversion (K = 1), and textual
inversion with Gaussian noise on its tokens, half as strong as the tokens' own deviation, fresh for each asset. All have
the same references, M and steps; lift i of every method has seed i and draw seed i. For two, if they are named, nothing
is learned: `instant` is the packaged apprentice's distribution, `words` the family's name. What is there already is not
made again; another training (`--seed 1`) wants another folder.
"""

import os
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import tyro

import study
from concepts import article
from dreamdist3d.mini.references import write_references
from dreamdist3d.prompts import PromptDistribution
from dreamdist3d.runs.trial import Trial

METHODS: dict[str, dict] = {"distribution": {}, "paper": {"objective": "paper"}, "textual-inversion": {"prompts": 1}}
NOISY, INSTANT, WORDS = "textual-inversion-noise", "instant", "words"
NOISE = 0.5  # of the deviation of the learned tokens' numbers


@dataclass(frozen=True)
class Options:
    """What to make.

    Attributes:
        out: folder for everything.
        families: what the references show.
        methods: of METHODS, NOISY, INSTANT, and WORDS.
        assets: lifts of each method and family.
        seed: of the learnings.
        workers: processes.
        overrides: key=value for the configuration of every lift.
    """

    out: Path = Path("outputs/table4")
    families: tuple[str, ...] = ("mushroom", "rocket", "house")
    methods: tuple[str, ...] = (*METHODS, NOISY)
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
    chosen = {
        method: settings | {"seed": options.seed} for method, settings in METHODS.items() if method in options.methods
    }
    jobs = [(references(options, family), learned(options, family, method), settings)
            for family in options.families for method, settings in chosen.items()]  # fmt: skip
    with study.pool(options.workers) as pool:
        list(pool.map(study.train, *zip(*jobs, strict=True)))
    for family in options.families:
        if INSTANT in options.methods:
            study.make_instant(references(options, family), learned(options, family, INSTANT))
        if WORDS in options.methods:
            study.make_words(article(family), learned(options, family, WORDS).parent)
        for method in [one for one in options.methods if one != NOISY]:
            folder = set_folder(options, family, method)
            study.lift_batch(
                folder, learned(options, family, method), options.assets, options.workers, 0, *options.overrides
            )
        if NOISY in options.methods:
            lift_noisy(options, family)


def references(options: Options, family: str) -> Path:
    """The folder of a family's reference pictures."""
    return options.out / "references" / family


def learned(options: Options, family: str, method: str) -> Path:
    """What a method learned of a family."""
    if method == WORDS:
        return options.out / "learned" / f"{family}-{method}" / "prompts.safetensors"
    return options.out / "learned" / f"{family}-{method}.safetensors"


def set_folder(options: Options, family: str, method: str) -> Path:
    """Where a method's assets of a family are."""
    return options.out / family / method


def lift_noisy(options: Options, family: str) -> None:
    """One learned prompt, disturbed anew for each asset."""
    folder = set_folder(options, family, NOISY)
    prompt = PromptDistribution.load(learned(options, family, "textual-inversion"))
    commands = []
    for number in range(options.assets):
        tag, path = f"{number:03d}", learned(options, family, f"noise-{number:03d}")
        disturbed(prompt, number).save(path)
        manifest = Trial(folder / tag).manifest()
        if manifest is None or manifest.state != "done":
            words = [f"exp_root_dir={folder.parent}", f"name={folder.name}", f"tag={tag}", f"seed={number}"]
            words += [f"system.prompt_processor.draw_seed={number}", *options.overrides]
            words.append(f"system.prompt_processor.distribution={path}")
            commands.append(words)
    study.launch_all(commands, options.workers)


def disturbed(prompt: PromptDistribution, seed: int) -> PromptDistribution:
    """The prompt with noise on every number of its tokens."""
    noise = torch.randn(prompt.tokens.shape, generator=torch.Generator().manual_seed(seed))
    return replace(prompt, tokens=prompt.tokens + NOISE * prompt.tokens.std() * noise)


if __name__ == "__main__":
    main()
