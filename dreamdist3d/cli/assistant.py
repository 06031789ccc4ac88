"""Commands of the assistant: one request, a dialogue, and how it is trained."""

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import Positional, arg
from tyro.extras import SubcommandApp

from dreamdist3d.cli.given import given, left_out
from dreamdist3d.errors import UserError

if TYPE_CHECKING:
    from dreamdist3d.assistant import Assistant

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


def assist(
    request: Positional[str],
    image: Images = (),
    distribution: Distributions = (),
    out: Path = Path("outputs/assist"),
    seed: int = 0,
    weights: Weights = None,
    as_json: Annotated[bool, arg(name="json")] = False,
) -> None:
    """Say what you would like of a picture or a distribution, clearly or vaguely; get pictures and how they are made.

    Args:
        request: a sentence, such as "I want something for a winter scene".
        image: pictures of one thing.
        distribution: files that `learn` or `mix` wrote.
        out: the folder for pictures and answer.json.
        seed: of the first draws.
        as_json: print the answer as JSON.
    """
    asked = _assistant(image, distribution, seed, weights)
    _answer(asked, request, out, as_json)


def chat(
    subject: Annotated[Positional[tuple[Path, ...]], arg(metavar="FILE [FILE ...]", help_behavior_hint="")],
    out: Path = Path("outputs/chat"),
    seed: int = 0,
    weights: Weights = None,
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
    talk = _assistant(images, distributions, seed, weights)
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
    images: tuple[Path, ...], distributions: tuple[Path, ...], seed: int, weights: Path | None
) -> "Assistant":
    if bool(images) == bool(distributions):
        raise UserError("give pictures (--image) or distributions (--distribution), and not both.")
    from dreamdist3d.assistant import Assistant, load_assistant

    stored = load_assistant(weights)
    if images:
        return Assistant.of_pictures(images, seed=seed, stored=stored)
    return Assistant.of_distribution(distributions, seed=seed, stored=stored)


def _answer(talk: "Assistant", request: str, folder: Path, as_json: bool) -> None:
    from dreamdist3d.assistant.showing import in_text, write_answer

    before = talk.picture
    answer = talk.ask(request)
    paths = write_answer(answer, folder, before)
    if as_json:
        record = answer.to_dict()
        for path, proposal in zip(paths, record["proposals"], strict=True):
            proposal["picture"] = str(path)
        print(json.dumps(record, ensure_ascii=False), flush=True)
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


@assistant.command(name="train")
def assistant_train(out: Path, settings: Annotated[RecipeSettings, arg(name="")] = RecipeSettings()) -> None:
    """Train the miniature assistant from nothing; goes on where it was stopped.

    Args:
        out: the folder for pictures, checkpoint, log and, in the end, weights/.
    """
    from dreamdist3d.assistant.train import AssistantRecipe, train

    print(train(out, AssistantRecipe(**given(settings))))


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
