"""The whole road in miniature: references, a distribution, fresh draws, assets, meshes, a report."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from dreamdist3d.backbones import load_backbone
from dreamdist3d.config import load_config
from dreamdist3d.errors import Stopped
from dreamdist3d.eval import evaluate
from dreamdist3d.files import safe_name
from dreamdist3d.mini.references import write_references
from dreamdist3d.prompts import learn, load_references, preset_for
from dreamdist3d.runs.batch import BatchOptions, open_batch, work_off
from dreamdist3d.stopping import StopSignal

CONFIG = "dreamdist3d/mini.yaml"
REFERENCES = 20
AT_ONCE = 2
_SEED = 0  # of the references and the learning; every run draws afresh


def demo(out: Path, runs: int, family: str, say: Callable[[str], None]) -> Path:
    """Walk the road in the folder `out`; what an earlier, interrupted walk finished is not done again.

    Args:
        runs: assets to make, each from a fresh draw.
        family: one of the miniature world's families.
        say: takes a line before each step.

    Returns:
        The report, an HTML file.

    Raises:
        UserError: a step failed; the message says which. Or the folder was begun with another number of runs or
            another distribution.
        Stopped: Ctrl-C or SIGTERM.
    """
    name = safe_name(family)
    references = out / "references" / name
    say(f"1/4 reference images: {references}")
    if len(list(references.glob(f"{name}-*.png"))) < REFERENCES:
        write_references(references, family, REFERENCES, _SEED)
    distribution = out / f"{name}.safetensors"
    say(f"2/4 learning their prompt distribution: {distribution}")
    if not distribution.exists():
        backbone = load_backbone("mini")
        with _stopping("learning"):
            learn(backbone, load_references(references, backbone.image_size), preset_for(backbone), distribution)
    say(f"3/4 {runs} fresh draws, each lifted to 3D: {out / name}")
    with _stopping("the lifts"):
        _lift(out / name, distribution, runs)
    say("4/4 scoring")
    evaluate([out / name], references, out / "report")
    return out / "report" / "report.html"


@contextmanager
def _stopping(step: str) -> Iterator[None]:
    """A stop that comes too late for a step, which then ends well, keeps the next one from beginning."""
    with StopSignal() as stop:
        yield
    if stop.requested:
        raise Stopped(f"stopped after {step}; the same command goes on from there.")


def _lift(folder: Path, distribution: Path, runs: int) -> None:
    """The batch in `folder`, with what is missing of it."""
    config = load_config(CONFIG, [f"system.prompt_processor.distribution={distribution}"])
    with open_batch(folder, config, runs, "independent") as plan:
        work_off(folder, plan, BatchOptions(workers=AT_ONCE))
