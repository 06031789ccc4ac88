"""Commands of an apprentice's own pipeline: clusters, experts, training, evaluation."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from tyro.conf import Positional, arg
from tyro.extras import SubcommandApp

from dreamdist3d.choices import Device
from dreamdist3d.cli.given import BackboneName, given, left_out

if TYPE_CHECKING:
    from dreamdist3d.backbones import Backbone

apprentice = SubcommandApp()

Work = Annotated[Positional[Path], arg(help="the folder of one pipeline; each stage has a folder in it")]


@dataclass(frozen=True)
class MineSettings:
    """Where clusters come from; without folders, the miniature world."""

    objects: Annotated[int | None, left_out("INT", "4000")] = None
    """Of the miniature world, of which clusters are made."""
    clusters: Annotated[int | None, left_out("INT", "12000")] = None
    """Made of them."""
    seed: Annotated[int | None, left_out("INT", "0")] = None
    """Of the world."""


@dataclass(frozen=True)
class FilterSettings:
    """How a folder of folders becomes clusters."""

    family: bool = False
    """The folders show families of different objects, not views of one subject each."""
    similar: Annotated[tuple[float, float] | None, left_out("LOW HIGH", "0.82 0.98")] = None
    """Mean CLIP similarity inside a cluster that is kept."""
    prefixes: Annotated[tuple[str, ...] | None, left_out("[TEXT ...]", "a photo of")] = None
    """Words that experts are asked for before their tokens, such as "a red"."""
    features: str = "mini"
    """The CLIP that judges: mini, clip_vitb32, clip_vitl14, or KEY=PATH."""
    inputs: str = "latents"
    """What the apprentice sees: latents, or dinov2+clip, each by name or NAME=PATH."""


@apprentice.command(name="mine")
def mine(
    work: Work,
    folders: Annotated[Path | None, left_out("FOLDER", "the miniature world")] = None,
    backbone: BackboneName = "mini",
    world: Annotated[MineSettings, arg(name="")] = MineSettings(),
    filters: Annotated[FilterSettings, arg(name="")] = FilterSettings(),
    device: Device = "auto",
) -> None:
    """Collect clusters of pictures, filter and encode them.

    Args:
        folders: a folder that holds a folder of pictures for each subject; NAME.txt beside a picture is its caption.
    """
    from dreamdist3d.apprentice.mining import FolderSettings, WorldSettings, mine_folders, mine_world

    model = _backbone(backbone, device)
    if folders is None:
        bank = mine_world(model, work / "clusters", WorldSettings(**given(world)))
    else:
        from dreamdist3d.apprentice.inputs import load_inputs

        settings = FolderSettings(
            instances=not filters.family,
            **{name: value for name, value in given(filters).items() if name in ("similar", "prefixes")},
        )
        judge, inputs = _clip(filters.features), load_inputs(filters.inputs, model)
        bank = mine_folders(model, folders, work / "clusters", inputs, judge, settings)
    for reason, count in bank.mined.filtered.items():
        print(f"left out {count} clusters: {reason}", file=sys.stderr)
    for split in ("train", "known", "unknown"):
        print(f"{split}: {len(bank.split(split))} clusters", file=sys.stderr)
    print(work / "clusters")
    if bank.mined.failed:
        raise SystemExit(2)


@dataclass(frozen=True)
class TeachSettings:
    """How many experts, and what they are asked for."""

    experts: Annotated[int | None, left_out("INT", "300")] = None
    """Clusters that get an expert."""
    stack: Annotated[int | None, left_out("INT", "4")] = None
    """Experts that learn in one call of the UNet."""
    pictures: Annotated[int | None, left_out("INT", "8")] = None
    """Asked of each."""
    least_delta: Annotated[float | None, left_out("FLOAT", "0.02")] = None
    """Delta-CLIP above which a picture is kept."""


@apprentice.command(name="teach")
def teach(
    work: Work,
    settings: Annotated[TeachSettings, arg(name="")] = TeachSettings(),
    prompts: Annotated[int | None, left_out("INT", "as `learn`")] = None,
    steps: Annotated[int | None, left_out("INT", "as `learn`")] = None,
    batch: Annotated[int | None, left_out("INT", "as `learn`")] = None,
    features: str = "mini",
    executor: Literal["local", "ray"] = "local",
    device: Device = "auto",
) -> None:
    """Learn an expert for each cluster, and keep what it makes under unseen words if the words came through.

    Started once for each GPU, the processes share the work.

    Args:
        executor: this process, or the tasks of a Ray cluster (RAY_ADDRESS; needs dreamdist3d[ray]).
        prompts: K of an expert; 1 is textual inversion.
        steps: of an expert's learning.
        batch: samples of an expert in a step.
        features: the CLIP that judges: mini, clip_vitb32, clip_vitl14, or KEY=PATH.
    """
    from dataclasses import replace
    from functools import partial

    from dreamdist3d.apprentice import Bank
    from dreamdist3d.apprentice.ray_teaching import teach_on_ray
    from dreamdist3d.apprentice.teaching import TeachSettings as Settings, teach
    from dreamdist3d.prompts import preset_for
    from dreamdist3d.runs.prepare import resolve_device

    bank = Bank(work / "clusters")
    # On a cluster the tasks' processes load what works; here its kind is enough.
    model = _backbone(bank.mined.backbone, "cpu" if executor == "ray" else device)
    usual, asked = preset_for(model), Settings(**given(settings))
    named = {"prompts": prompts, "steps": steps, "batch": batch}
    chosen: dict[str, Any] = {name: value for name, value in named.items() if value is not None}
    config = replace(usual, **chosen)
    if executor == "ray":
        models = partial(_models, bank.mined.backbone, device, features)
        counts = teach_on_ray(models, resolve_device(device) == "cuda", work, config, asked)
    else:
        counts = teach(model, bank, work, config, asked, _clip(features))
    print(f"{counts['experts']} experts, {counts['kept']} of {counts['pictures']} pictures kept", file=sys.stderr)
    print(work / "pictures")


@dataclass(frozen=True)
class TrainSettings:
    """How long, and in which shares."""

    words_steps: Annotated[int | None, left_out("INT", "1500")] = None
    """On captions, without the UNet."""
    steps: Annotated[int | None, left_out("INT", "700")] = None
    """Through the UNet."""
    details_steps: Annotated[int | None, left_out("INT", "300")] = None
    """Of the UNet's reference attention, on clusters of one instance."""
    lr: Annotated[float | None, left_out("FLOAT", "0.001")] = None
    """Learning rate."""
    seed: Annotated[int | None, left_out("INT", "0")] = None
    """Of weights and steps."""
    width: Annotated[int | None, left_out("INT", "160")] = None
    """Of the network."""
    tokens: Annotated[int | None, left_out("INT", "8")] = None
    """M, of each prompt."""
    experts: Annotated[float | None, left_out("FLOAT", "0.3")] = None
    """Share of the steps that learn from experts' pictures, where there are any."""


@apprentice.command(name="train")
def train(
    work: Work,
    settings: Annotated[TrainSettings, arg(name="")] = TrainSettings(),
    least_delta: float = 0.02,
    device: Device = "auto",
) -> None:
    """Train the apprentice on clusters and on what experts made, and find out what it knows.

    Args:
        least_delta: delta-CLIP above which an expert's picture is learned from.
    """
    from dreamdist3d.apprentice import Bank
    from dreamdist3d.apprentice.knownness import calibrated
    from dreamdist3d.apprentice.teaching import examples
    from dreamdist3d.apprentice.training import TrainSettings as Settings, train

    bank = Bank(work / "clusters")
    model = _backbone(bank.mined.backbone, device)
    trained = train(model, bank, work / "training", Settings(**given(settings)), examples(work, bank, least_delta))
    calibrated(trained, model, bank).save(work / "apprentice.safetensors")
    print(work / "apprentice.safetensors")


@apprentice.command(name="evaluate")
def evaluate(
    work: Work,
    apprentice: Annotated[Path | None, left_out("FILE", "the folder's own")] = None,
    clusters: int = 32,
    features: str = "mini",
    device: Device = "auto",
) -> None:
    """Compare the apprentice with captions and with no words on clusters it has not seen.

    Args:
        apprentice: the file to evaluate.
        clusters: of each kind: held out, and not known.
        features: the judges: mini, or published ones by name.
    """
    from dreamdist3d.apprentice import Bank, load_apprentice
    from dreamdist3d.apprentice.evaluating import evaluate, table_of
    from dreamdist3d.eval.features.catalogue import load_encoders
    from dreamdist3d.files import write_json

    bank = Bank(work / "clusters")
    model = _backbone(bank.mined.backbone, device)
    trained = load_apprentice(apprentice or work / "apprentice.safetensors")
    found = evaluate(model, trained, bank, clusters, load_encoders(features.split()), work / "evaluation")
    write_json(work / "evaluation.json", found)
    print(table_of(found))
    print(work / "evaluation.json")


def _backbone(name: str, device: Device) -> "Backbone":
    from dreamdist3d.backbones import load_backbone
    from dreamdist3d.runs.prepare import resolve_device

    return load_backbone(name, resolve_device(device))


def _models(name: str, device: Device, features: str):  # noqa: ANN202, a backbone and an encoder of pictures and text
    return _backbone(name, device), _clip(features)


def _clip(features: str):  # noqa: ANN202, an encoder of pictures and text
    from dreamdist3d.errors import UserError
    from dreamdist3d.eval.features.catalogue import load_encoders
    from dreamdist3d.eval.features.encoder import TextEncoder

    for encoder in load_encoders([features]):
        if isinstance(encoder, TextEncoder):
            return encoder
    raise UserError(f"{features} reads no text: delta-CLIP needs mini, clip_vitb32 or clip_vitl14.")
