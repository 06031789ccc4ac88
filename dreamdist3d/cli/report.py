"""What a finished batch ends with: its score, and a table that a pipeline can read."""

import csv
import io
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dreamdist3d.eval import evaluate
from dreamdist3d.eval.evaluate import judges_by_name, require_undamaged
from dreamdist3d.eval.features.catalogue import fitting_features
from dreamdist3d.files import write_text
from dreamdist3d.licences import listed
from dreamdist3d.runs.engines import licences_of
from dreamdist3d.runs.manifest import Manifest
from dreamdist3d.runs.plan import BatchPlan, PlannedRun
from dreamdist3d.runs.trial import Trial

_COLUMNS = (
    "asset",
    "state",
    "draw_seed",
    "antithetic",
    "seed",
    "gamma",
    "mesh",
    "preview",
    "triangles",
    "seconds",
    "licences",
)


def judges_of_batch(backbone: str, features: Sequence[str] | None) -> list[str]:
    """The names of the judges that are to score a batch: those asked for, else those that fit its backbone.

    Says on stderr where the ones that fit cannot be had.

    Raises:
        UserError: an unknown name, or weights that are asked for and missing.
    """
    if features is not None:
        judges_by_name(features)
        return list(features)
    fitting, warning = fitting_features(backbone)
    if warning:
        print(f"warning: {warning}", file=sys.stderr)
    return fitting


def report_batch(folder: Path, plan: BatchPlan, references: Path | None, features: Sequence[str]) -> Path:
    """Score a batch, write `report/` and `manifest.csv` into its folder.

    Args:
        features: names of the judges.

    Returns:
        The report, an HTML file.

    Raises:
        UserError: nothing can be scored, a mesh cannot be read (the others are scored all the same), or the files
            cannot be written.
    """
    encoders, extras = judges_by_name(features)
    scored = evaluate([folder], references, folder / "report", encoders=encoders, extras=extras)
    scores = _scores(scored)
    rows = [_row(folder, plan, run) | scores.get(run.name, {}) for run in plan.runs]
    columns = [*_COLUMNS, *sorted({key for row in rows for key in row} - set(_COLUMNS))]
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(folder / "manifest.csv", text.getvalue())
    require_undamaged(scored)
    return folder / "report" / "report.html"


def _row(folder: Path, plan: BatchPlan, run: PlannedRun) -> dict[str, Any]:
    trial = Trial(folder / run.name)
    manifest = trial.manifest() or Manifest()
    draw = plan.draw_of(run) or {}
    return {
        "asset": run.name,
        "state": manifest.state,
        "draw_seed": run.draw_seed,
        "antithetic": run.antithetic,
        "seed": run.seed,
        "gamma": draw.get("gamma"),
        "mesh": _relative(trial.mesh, folder),
        "preview": _relative(trial.save_folder / "front.png", folder),
        "triangles": _triangles(trial.mesh),
        "seconds": round(sum(manifest.timings.values()), 1),
        "licences": listed(licences_of(manifest)),
    }


def _relative(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix() if path.exists() else ""


def _triangles(mesh: Path) -> int | None:
    """From the header of a GLB file: indices of its triangles, by three; None where there is no whole file."""
    try:
        content = mesh.read_bytes()
        header = json.loads(content[20 : 20 + int.from_bytes(content[12:16], "little")])
        indices = [part["indices"] for shape in header["meshes"] for part in shape["primitives"]]
        return sum(header["accessors"][index]["count"] for index in indices) // 3
    except (OSError, ValueError, LookupError, TypeError):
        return None


def _scores(report: dict[str, Any]) -> dict[str, dict[str, float]]:
    """By asset: likeness to the references under each judge, and to the most similar asset of the batch."""
    (entry,) = report["sets"]
    names = [asset["name"] for asset in entry["assets"]]
    found: dict[str, dict[str, float]] = {name: {} for name in names}
    for judge, values in entry["encoders"].items():
        for i, name in enumerate(names):
            others = [value for j, value in enumerate(values["similarity_matrix"][i]) if j != i]
            if others:
                found[name][f"{judge}_nearest_asset"] = max(others)
            if values["to_references"]:
                found[name][f"{judge}_to_references"] = values["to_references"]["per_asset"][i]
    return found
