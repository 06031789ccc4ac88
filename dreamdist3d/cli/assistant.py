"""Commands of the assistant: one request, a dialogue, and how it is trained."""

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import Positional, arg
from tyro.extras import SubcommandApp

from dreamdist3d.choices import Device
from dreamdist3d.cli.given import BackboneName, given, left_out
from dreamdist3d.errors import UserError

if TYPE_CHECKING:
    from dreamdist3d.assistant import Assistant
    from dreamdist3d.assistant.quadruplets import Quadruplet

assistant = SubcommandApp()

Images = Annotated[
    tuple[Path, ...], arg(metavar="FILE [FILE ...]", help_behavior_hint="(default: none)", help="pictures of one thing")
]
Distributions = Annotated[
    tuple[Path, ...],
    arg(metavar="FILE [FILE ...]", help_behavior_hint="(default: none)", help="one distribution, or several to blend"),
]


Weights = Annotated[
    Path | None,
    arg(metavar="FOLDER", help_behavior_hint="(default: the packaged one)", help="what `assistant train` wrote"),
]


GeneratorFolder = Annotated[
    Path | None,
    arg(metavar="FOLDER", help_behavior_hint="(default: beside the weights)", help="what `assistant generator` wrote"),
]


def assist(
    request: Positional[str],
    image: Images = (),
    distribution: Distributions = (),
    out: Path = Path("outputs/assist"),
    like: Annotated[Path | None, left_out("FILE", "what the language model wants")] = None,
    seed: int = 0,
    weights: Weights = None,
    generator: GeneratorFolder = None,
    as_json: Annotated[bool, arg(name="json")] = False,
) -> None:
    """Say what you would like of a picture or a distribution, clearly or vaguely; get pictures and how they are made.

    Args:
        request: a sentence, such as "I want something for a winter scene".
        image: pictures of one thing.
        distribution: files that `learn` or `mix` wrote.
        out: the folder for pictures and answer.json.
        like: a picture that says, in the language model's place, what the result should be like.
        seed: of the first draws.
        as_json: print the answer as JSON.
    """
    asked = _assistant(image, distribution, seed, weights, generator)
    if like is not None:
        from dreamdist3d.assistant.reading import read_file

        asked.like = read_file(like, asked.picture.shape[-1])
    _answer(asked, request, out, as_json)


def chat(
    subject: Annotated[Positional[tuple[Path, ...]], arg(metavar="FILE [FILE ...]", help_behavior_hint="")],
    out: Path = Path("outputs/chat"),
    seed: int = 0,
    weights: Weights = None,
    generator: GeneratorFolder = None,
    as_json: Annotated[bool, arg(name="json")] = False,
) -> None:
    """A dialogue about a distribution, a blend of several, or pictures: a line a request, until the input ends.

    Args:
        subject: distribution files (.safetensors), or pictures.
        out: the folder for the turns, one folder each.
        seed: of the first draws.
        as_json: print a line of JSON for each answer.
    """
    distributions = tuple(path for path in subject if path.suffix == ".safetensors")
    images = tuple(path for path in subject if path.suffix != ".safetensors")
    talk = _assistant(images, distributions, seed, weights, generator)
    if not as_json:
        print('Say what you would like to see; "help" says what I know, an empty line or Ctrl-D ends.')
    for turn, line in enumerate(_lines(sys.stdin.isatty()), start=1):
        try:
            _answer(talk, line, out / f"turn-{turn:02d}", as_json)
        except UserError as error:  # one request that cannot be answered ends no dialogue
            print(f"error: {error}", file=sys.stderr)


def _lines(asks: bool) -> Iterator[str]:
    while True:
        try:
            line = input("> " if asks else "")
        except EOFError:
            return
        if not line.strip():
            return
        yield line


def _assistant(
    images: tuple[Path, ...],
    distributions: tuple[Path, ...],
    seed: int,
    weights: Path | None,
    generator: Path | None,
) -> "Assistant":
    if bool(images) == bool(distributions):
        raise UserError("give pictures (--image) or distributions (--distribution), and not both.")
    from dreamdist3d.assistant import Assistant, load_assistant

    stored = load_assistant(weights)
    if images:
        return Assistant.of_pictures(images, seed=seed, stored=stored, generator=generator)
    if generator is not None:
        raise UserError("a generator shows pictures to the backbone: give it with --image, not with distributions.")
    return Assistant.of_distribution(distributions, seed=seed, stored=stored)


def _answer(talk: "Assistant", request: str, folder: Path, as_json: bool) -> None:
    from dreamdist3d.assistant.showing import in_text, record_of, write_answer

    before = talk.picture
    answer = talk.ask(request)
    paths = write_answer(answer, folder, before)
    if as_json:
        print(json.dumps(record_of(answer, paths), ensure_ascii=False), flush=True)
    else:
        print(in_text(answer, paths), flush=True)


@dataclass(frozen=True)
class RecipeSettings:
    """Amounts of the training; those left out are those of the shipped weights."""

    seed: Annotated[int | None, left_out("INT", "0")] = None
    """Of pictures, dialogues, initial weights and every step."""
    groups: Annotated[int | None, left_out("INT", "700")] = None
    """Objects that are rendered, each with three variants."""
    steps: Annotated[int | None, left_out("INT", "1000")] = None
    """Optimisation steps."""
    batch: Annotated[int | None, left_out("INT", "64")] = None
    """Requests a step."""
    mse_weight: Annotated[float | None, left_out("FLOAT", "0.5")] = None
    """Lambda, the weight of the wanted embedding's squared error."""


@dataclass(frozen=True)
class FullSettings:
    """A full-size assistant: all three of these."""

    llm: Annotated[Path | None, left_out("FOLDER", "none")] = None
    """A causal language model, such as a copy of Llama 2; it is only read."""
    clip: Annotated[Path | None, left_out("FOLDER", "none")] = None
    """A CLIP, such as a copy of openai/clip-vit-large-patch14-336."""
    quadruplets: Annotated[Path | None, left_out("FILE", "none")] = None
    """JSON lines: picture, request, answer and target, pictures as files beside it."""


@assistant.command(name="train")
def assistant_train(
    out: Path,
    settings: Annotated[RecipeSettings, arg(name="")] = RecipeSettings(),
    full: Annotated[FullSettings, arg(name="")] = FullSettings(),
    lora_rank: int = 0,
    device: Device = "auto",
) -> None:
    """Train the miniature assistant from nothing, or the layers around a full-size one; goes on where it was stopped.

    Args:
        out: the folder for pictures, checkpoint, log and, in the end, weights/.
        lora_rank: of low-rank factors in the full-size language model; 0: it stays as it is.
        device: of a full-size training.
    """
    if not given(full):
        from dreamdist3d.assistant.train import AssistantRecipe, train

        print(train(out, AssistantRecipe(**given(settings))))
        return
    if full.llm is None or full.clip is None or full.quadruplets is None:
        raise UserError("a full-size assistant needs --llm, --clip and --quadruplets: give all three.")
    from dreamdist3d.assistant.full import FullRecipe, train_full
    from dreamdist3d.runs.prepare import resolve_device

    amounts = {name: value for name, value in given(settings).items() if name != "groups"}
    found, wrong = _quadruplets(full.quadruplets)
    recipe = FullRecipe(**amounts, lora_rank=lora_rank)
    print(train_full(out, found, full.llm, full.clip, recipe, resolve_device(device)))
    _end(wrong)


@dataclass(frozen=True)
class GeneratorSettings:
    """Amounts; those left out are those of the shipped weights."""

    seed: Annotated[int | None, left_out("INT", "0")] = None
    """Of pictures, initial weights and every step."""
    groups: Annotated[int | None, left_out("INT", "700")] = None
    """Objects of the miniature world, each with five others that differ in one attribute."""
    steps: Annotated[int | None, left_out("INT", "1200")] = None
    """Optimisation steps."""
    batch: Annotated[int | None, left_out("INT", "32")] = None
    """Pairs a step."""
    lr: Annotated[float | None, left_out("FLOAT", "0.0015")] = None
    """Learning rate."""


@assistant.command(name="generator")
def assistant_generator(
    out: Path,
    settings: Annotated[GeneratorSettings, arg(name="")] = GeneratorSettings(),
    quadruplets: Annotated[Path | None, left_out("FILE", "the miniature world")] = None,
    backbone: BackboneName = "mini",
    clip: Annotated[Path | None, left_out("FOLDER", "the packaged one")] = None,
    patches: str = "apprentice",
    device: Device = "auto",
) -> None:
    """Teach a frozen backbone to look at what is wanted and at the picture given; goes on where it was stopped.

    Args:
        out: the folder for pairs, checkpoint, log and, in the end, weights/.
        quadruplets: JSON lines, as `assistant train` takes them; their "text" are words for the backbone.
        clip: the CLIP whose embeddings say what is wanted.
        patches: the encoder of the picture given: apprentice, or dinov2, by name or dinov2=PATH.
    """
    from dreamdist3d.assistant.generator.bank import Encoders
    from dreamdist3d.assistant.generator.patches import load_patches
    from dreamdist3d.assistant.generator.training import GeneratorRecipe, train_generator
    from dreamdist3d.assistant.inputs import ClipInputs, mini_inputs
    from dreamdist3d.backbones import load_backbone
    from dreamdist3d.runs.prepare import resolve_device

    found, wrong = _quadruplets(quadruplets) if quadruplets else ([], [])
    model = load_backbone(backbone, resolve_device(device))
    if not found and model.name != "mini":
        raise UserError(f"the miniature world is for the backbone mini: give --quadruplets FILE for {model.name}.")
    encoders = Encoders(model, ClipInputs(clip) if clip else mini_inputs(), load_patches(patches, model))
    print(train_generator(out, encoders, GeneratorRecipe(**given(settings)), found))
    _end(wrong)


def _quadruplets(path: Path) -> "tuple[list[Quadruplet], list[str]]":
    """Those of a file; its other lines are named at once."""
    from dreamdist3d.assistant.quadruplets import read_quadruplets

    found, wrong = read_quadruplets(path)
    for line in wrong:
        print(f"left out: {line}", file=sys.stderr)
    return found, wrong


def _end(wrong: list[str]) -> None:
    if wrong:
        raise SystemExit(UserError.exit_code)


@assistant.command(name="distill")
def assistant_distill(
    out: Path,
    weights: Annotated[Path | None, left_out("FOLDER", "the packaged assistant")] = None,
    requests: int = 300,
    steps: int = 200,
    seed: int = 0,
) -> None:
    """Self-distillation: the assistant's own answers and pictures, filtered and counted, and trained on again.

    Args:
        out: the folder for what is made, filter.json and, in the end, weights/.
        weights: a folder that training wrote.
        requests: asked of the assistant.
        steps: of the training that follows.
        seed: of requests, pictures and steps.
    """
    from dreamdist3d.assistant.distill import DistillRecipe, distill

    print(distill(out, DistillRecipe(seed=seed, requests=requests, steps=steps), weights))
