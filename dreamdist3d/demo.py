"""The whole road in miniature: references, a distribution, fresh draws, assets, meshes, a report."""

from collections.abc import Callable
from pathlib import Path

from dreamdist3d.backbones import load_backbone
from dreamdist3d.eval import evaluate
from dreamdist3d.files import safe_name
from dreamdist3d.mini.references import write_references
from dreamdist3d.prompts import PromptDistribution, learn, load_references, preset_for
from dreamdist3d.runs.local import Job, launch_job, run_jobs
from dreamdist3d.runs.trial import Trial

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
        UserError: a step failed; the message says which.
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
        learn(backbone, load_references(references, backbone.image_size), preset_for(backbone), distribution)
    say(f"3/4 {runs} fresh draws, each lifted to 3D: {out / name}")
    run_jobs(_open_jobs(out, runs, name, distribution), AT_ONCE)
    say("4/4 scoring")
    evaluate([out / name], references, out / "report")
    return out / "report" / "report.html"


def _open_jobs(out: Path, runs: int, name: str, distribution: Path) -> list[Job]:
    """The runs that are not finished yet with this distribution."""
    sha256 = PromptDistribution.load(distribution).content_hash
    jobs = []
    for number in range(1, runs + 1):
        tag = f"asset-{number}"
        manifest = Trial(out / name / tag).manifest()
        is_done = manifest is not None and manifest.state == "done" and manifest.distribution is not None
        if not (is_done and manifest.distribution["sha256"] == sha256):
            jobs.append(_job(out, name, tag, number, distribution))
    return jobs


def _job(out: Path, name: str, tag: str, number: int, distribution: Path) -> Job:
    overrides = [
        f"exp_root_dir={out}",
        f"name={name}",
        f"tag={tag}",
        f"seed={number}",
        f"system.prompt_processor.distribution={distribution}",
    ]
    return launch_job(f"{name} {tag}", CONFIG, overrides, out / "logs" / f"{name}-{tag}.log")
