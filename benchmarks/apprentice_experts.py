"""What SuTI's experts add to an apprentice in miniature: none to 300 of them, with and without its filter.

    dreamdist3d apprentice mine outputs/experts --objects 1920
    dreamdist3d apprentice teach outputs/experts --experts 300 --stack 2 --prompts 8 --batch 8 --steps 60
    python benchmarks/apprentice_experts.py run --out outputs/experts      # goes on; started several times, shares
    python benchmarks/apprentice_experts.py table --out outputs/experts    # and arms.csv
    python benchmarks/apprentice_experts.py sheet --out outputs/experts    # what experts made, kept and left out

An arm is one apprentice. All begin with the same steps on words; then as many go through the UNet: on the clusters'
pictures and on edits, with 0.3 of the steps on experts' pictures (or none), or, `alone`, on nothing but experts'
pictures, as SuTI's apprentice has it. Each is judged by DreamBench's protocol (`dreambench_mini.py`) on single objects
of families that were taught, none of which it has seen, and by its denoising of held-out clusters.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Annotated

import torch
import tyro
from cells import DEVICE, claimed, copy_whole
from dreambench_mini import COLUMNS, SIZE, Options as Protocol, Subject, sampled, scores, shown, write_references
from tyro.conf import arg

from dreamdist3d.apprentice import Bank, instant
from dreamdist3d.apprentice.bank import Cluster
from dreamdist3d.apprentice.evaluating import denoising_error
from dreamdist3d.apprentice.inputs import patches_of
from dreamdist3d.apprentice.instant import distribution_of
from dreamdist3d.apprentice.objective import Example
from dreamdist3d.apprentice.storage import Trained
from dreamdist3d.apprentice.teaching import LEAST_DELTA, examples, is_taught, of_expert
from dreamdist3d.apprentice.training import TrainSettings, train
from dreamdist3d.backbones import Backbone, load_backbone
from dreamdist3d.baselines import Made
from dreamdist3d.errors import UserError
from dreamdist3d.files import write_json, write_text
from dreamdist3d.mini.clusters import UNKNOWN
from dreamdist3d.mini.families import FAMILIES
from dreamdist3d.mini.grids import save_grid
from dreamdist3d.prompts import SoftPromptEncoder, load_references
from tables_2d_table import difference


@dataclass(frozen=True)
class Arm:
    """What an apprentice learns from.

    Attributes:
        experts: clusters, the first of the training split, whose experts' pictures it sees.
        filtered: only pictures whose delta-CLIP is above SuTI's threshold.
        share: of the steps through the UNet that are on experts' pictures.
        steps: whether there are such steps at all.
    """

    experts: int
    filtered: bool = True
    share: float = 0.3
    steps: bool = True

    @property
    def name(self) -> str:
        if not self.steps:
            return "words only"
        alone = " alone" if self.share == 1.0 else ""
        return f"{self.experts}{alone}{'' if self.filtered else ', unfiltered'}"


def arms_of(experts: Sequence[int]) -> list[Arm]:
    """Without experts, with some, with more; of the most also without the filter, and with nothing else."""
    most = max(experts)
    compared = [Arm(most, filtered=False), Arm(most, share=1.0), Arm(most, filtered=False, share=1.0)]
    return [WORDS, Arm(0), *map(Arm, sorted(experts)), *compared]


WORDS = Arm(0, steps=False)


@dataclass(frozen=True)
class Options:
    """What to run.

    Attributes:
        out: folder of `apprentice mine` and `teach`; everything else goes below `arms`.
        experts: how many; `teach` must have taught as many as the most.
        arms: names; left out, all.
        seeds: of the trainings.
        words_steps, steps: of each.
        subjects, pictures: objects that it is judged on, and how many pictures under each prompt.
        clusters: held-out ones that it is judged on.
        device: cpu or cuda.
    """

    out: Path = Path("outputs/experts")
    experts: tuple[int, ...] = (30, 100, 300)
    arms: tuple[str, ...] = ()
    seeds: tuple[int, ...] = (0,)
    words_steps: int = 1000
    steps: int = 250
    subjects: int = 12
    pictures: int = 2
    clusters: int = 24
    device: str = DEVICE


def run(options: Annotated[Options, arg(name="")]) -> None:
    """Train and judge what is missing."""
    torch.set_num_threads(1)
    bank = Bank(options.out / "clusters")
    arms = [arm for arm in arms_of(options.experts) if not options.arms or arm.name in options.arms]
    for seed, arm in product(options.seeds, arms):
        folder = folder_of(options, arm, seed)
        with claimed(folder) as mine:
            if mine and not (folder / "scores.json").is_file():
                given = given_to(arm, options.out, bank)
                trained = trained_on(given, arm, seed, options, bank)
                row = {
                    "arm": arm.name,
                    "experts": arm.experts,
                    "seed": seed,
                    "pictures": len(given),
                    "steps": options.steps * arm.steps,
                }
                write_json(folder / "scores.json", row | judged(trained, options, bank, folder))
                print((folder / "scores.json").read_text(), flush=True)


def folder_of(options: Options, arm: Arm, seed: int) -> Path:
    return options.out / "arms" / f"{arm.name.replace(',', '').replace(' ', '-')}-{seed}"


def given_to(arm: Arm, out: Path, bank: Bank) -> list[Example]:
    """The experts' pictures that an arm learns from.

    Raises:
        UserError: an expert of it is missing.
    """
    first = bank.split("train")[: arm.experts]
    if missing := sum(not is_taught(out, one) for one in first):
        raise UserError(f"{missing} of {arm.experts} experts are missing: run `dreamdist3d apprentice teach {out}`.")
    names = {one.name for one in first}
    least = LEAST_DELTA if arm.filtered else -float("inf")
    return [one for one in examples(out, bank, least) if one.cluster in names]


def trained_on(given: Sequence[Example], arm: Arm, seed: int, options: Options, bank: Bank) -> Trained:
    """The arm's apprentice; the steps on words are made once for all arms of a seed."""
    folder = folder_of(options, arm, seed)
    shared = folder_of(options, WORDS, seed) / "training" / "words.ckpt"
    if arm.steps and not shared.is_file():
        raise UserError(f"{shared} is missing: run the arm {WORDS.name!r} first.")
    copy_whole(shared, folder / "training" / "words.ckpt")
    settings = TrainSettings(
        words_steps=options.words_steps,
        steps=options.steps if arm.steps else 0,
        details_steps=0,
        seed=seed,
        experts=arm.share,
        edits=0.0 if arm.share == 1.0 else TrainSettings.edits,
    )
    backbone = load_backbone("mini", options.device)
    trained = train(backbone, bank, folder / "training", settings, given)
    trained.save(folder / "apprentice.safetensors")
    return trained


def judged(trained: Trained, options: Options, bank: Bank, folder: Path) -> dict[str, float]:
    """Means over objects, and over held-out clusters."""
    backbone = load_backbone("mini", options.device)
    taught = [Subject(n) for n in range(10 * options.subjects) if list(FAMILIES)[n % len(FAMILIES)] not in UNKNOWN]
    rows = [of_subject(trained, backbone, one, folder, options) for one in taught[: options.subjects]]
    write_json(folder / "subjects.json", rows)
    found = {name: [row[name] for row in rows if name in row] for name in COLUMNS}
    found["denoising"] = [denoising(trained, backbone, bank, one) for one in bank.split("known")[: options.clusters]]
    return {name: round(sum(several) / len(several), 5) for name, several in found.items() if several}


@torch.no_grad()
def denoising(trained: Trained, backbone: Backbone, bank: Bank, cluster: Cluster) -> float:
    """The UNet's error on a held-out cluster's pictures, each under its own prompt."""
    latents = bank.latents(cluster.pictures).to(backbone.device)
    made = distribution_of(backbone, trained, patches_of(latents), latents)
    encoder = SoftPromptEncoder(backbone.tokenizer, backbone.text_encoder)
    return denoising_error(backbone, latents, encoder.encode(made.tokens[: len(latents)].to(backbone.device)).hidden)


def of_subject(
    trained: Trained, backbone: Backbone, subject: Subject, folder: Path, options: Options
) -> dict[str, float | str]:
    """The scores of one object's pictures under all prompts."""
    references = options.out / "dataset" / subject.name
    write_references(references, subject)
    path = folder / "subjects" / f"{subject.name}.safetensors"
    instant(backbone, trained, load_references(references, SIZE)).save(path)
    pictures = sampled(Protocol(pictures=options.pictures, device=options.device), subject, Made(path, "mini"))
    return {"subject": subject.name, **scores(subject, references, pictures)}


def table(out: Path = Path("outputs/experts")) -> None:
    """Print the arms, ± half of a 95 % t interval over objects; write `arms.csv`, a line an arm and object."""
    found = {path.parent: json.loads(path.read_text()) for path in (out / "arms").glob("*/scores.json")}
    found = dict(sorted(found.items(), key=lambda item: (item[1]["experts"], item[1]["steps"] > 0, item[0])))
    names = [name for name in COLUMNS if name != "seconds"]
    text = io.StringIO()
    writer = csv.DictWriter(text, ["arm", "seed", "subject", *names], lineterminator="\n")
    writer.writeheader()
    print(f"| experts | seed | pictures | {' | '.join(COLUMNS[name] for name in names)} | denoising ↓ |")
    print("|" + "---|" * (len(names) + 4))
    for folder, row in found.items():
        subjects = json.loads((folder / "subjects.json").read_text())
        writer.writerows({"arm": row["arm"], "seed": row["seed"], **one} for one in subjects)
        cells = [shown([one[name] for one in subjects if name in one]) for name in names]
        denoising = f"{row['denoising']:.4f}"
        print(f"| {row['arm']} | {row['seed']} | {row['pictures']} | {' | '.join(cells)} | {denoising} |")
    write_text(out / "arms.csv", text.getvalue())
    print_differences({folder: json.loads((folder / "subjects.json").read_text()) for folder in found}, found)


def print_differences(subjects: dict[Path, list[dict]], found: dict[Path, dict]) -> None:
    """Markdown: means over objects of an arm's scores minus those without experts, ± half of a 95 % t interval.

    Arms are paired by seed, and what is known of an object is the mean of its seeds.
    """
    names = [name for name in COLUMNS if name != "seconds"]
    print(
        f"\n| minus no experts | seeds | {' | '.join(COLUMNS[name] for name in names)} |\n{'|---' * (len(names) + 2)}|"
    )
    rows = {(found[f]["arm"], found[f]["seed"], one["subject"]): one for f, many in subjects.items() for one in many}
    for arm in dict.fromkeys(about["arm"] for about in found.values()):
        seeds = {seed for name, seed, _ in rows if name == arm} & {
            seed for name, seed, _ in rows if name == Arm(0).name
        }
        pairs = {name: _pairs(rows, arm, seeds, name) for name in names}
        if arm != Arm(0).name and all(pairs.values()):
            print(f"| {arm} | {len(seeds)} | {' | '.join(difference(pairs[name]) for name in names)} |")


def _pairs(rows: dict[tuple, dict], arm: str, seeds: set[int], name: str) -> list[tuple[float, float]]:
    """An object's mean over seeds with an arm and without experts, where it has the score."""
    found = []
    for subject in dict.fromkeys(subject for _, _, subject in rows):
        keys = [((arm, seed, subject), (Arm(0).name, seed, subject)) for seed in sorted(seeds)]
        both = [(rows.get(first, {}), rows.get(second, {})) for first, second in keys]
        if both and all(name in one for pair in both for one in pair):
            found.append(tuple(sum(one[name] for one in side) / len(both) for side in zip(*both, strict=True)))
    return found


@torch.no_grad()
def sheet(out: Path = Path("outputs/experts"), rows: int = 8) -> None:
    """Write `sheet.png`: four pictures of each of the first clusters, four of its expert; those left out are faint."""
    backbone, bank = load_backbone("mini"), Bank(out / "clusters")
    gap = torch.ones(3, SIZE, SIZE // 8)

    def shown_latents(latents: torch.Tensor) -> torch.Tensor:
        return (backbone.decode_latents(latents) / 2 + 0.5).clamp(0, 1)

    lines = []
    for cluster in bank.split("train")[:rows]:
        _, deltas, latents = zip(*of_expert(out, cluster), strict=True)
        kept = torch.tensor(deltas)[:, None, None, None] > LEAST_DELTA
        made = shown_latents(torch.stack(latents))
        made = torch.where(kept, made, 0.75 + 0.25 * made)
        lines.append([*shown_latents(bank.latents(cluster.pictures[:4])), gap, *made[:4]])
    half = len(lines) // 2
    save_grid([[*a, gap, gap, *b] for a, b in zip(lines[:half], lines[half:], strict=True)], out / "sheet.png", 1)


if __name__ == "__main__":
    tyro.extras.subcommand_cli_from_dict({"run": run, "table": table, "sheet": sheet})
