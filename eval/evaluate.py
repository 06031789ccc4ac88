"""From folders of assets to a report."""

import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor

from dreamdist3d.choices import Renderer
from dreamdist3d.errors import UserError
from dreamdist3d.eval.assets import AssetSet, find_assets
from dreamdist3d.eval.compare import compare_sets
from dreamdist3d.eval.describe import describe, describe_set
from dreamdist3d.eval.extra import EXTRAS, measure_extra
from dreamdist3d.eval.features import FeatureCache, ImageEncoder, MiniClip, MiniDino, TextEncoder, load_encoders
from dreamdist3d.eval.load import LoadedSet, References, load_reference_set, load_set
from dreamdist3d.eval.measure import Scores, Seen, measure_features, measure_pictures
from dreamdist3d.eval.report import write_report
from dreamdist3d.files import ensure_folder
from dreamdist3d.mesh.hits import require_renderer
from dreamdist3d.progress import bar
from dreamdist3d.prompts.looks.collection import open_collection

MINI_SIZE, FULL_SIZE = 128, 256  # pixels of the renders, for the packaged judges and for published ones


def evaluate(
    sets: Sequence[Path],
    references: Path | None,
    out: Path,
    *,
    encoders: Sequence[ImageEncoder] | None = None,
    extras: Sequence[str] = (),
    names: Sequence[str] = (),
    text: str | None = None,
    image_size: int | None = None,
    renderer: Renderer = "embree",
    cache: Path | None = None,
    pictures: Path | None = None,
) -> dict[str, Any]:
    """Score sets of assets and write report.json, report.html, tables and contact_sheet.png into `out`.

    Args:
        sets: folders: one run, runs (at most three levels down, such as a batch), mesh files, or `asset/view.png`.
        references: the folder of reference images, or None.
        out: where the report goes.
        encoders: the judges; None for the packaged mini-DINO and mini-CLIP.
        extras: "lpips", "inception" (FID and KID): measures that need weights of their own.
        names: of the sets, in their order; none for those of the folders.
        text: a sentence that the assets should look like, for judges that read.
        image_size: pixels of the renders; None for what suits the judges.
        renderer: of the meshes.
        cache: where features are kept between calls; None for `out`/features.
        pictures: what `sample --cutout` wrote, if meshes were made of its pictures.

    Returns:
        What report.json holds; its schema is `templates/report.schema.json`. What cannot be measured is missing
        there, with a note; files that cannot be read are named under `skipped`, sets of nothing else under
        `left_out`, and the rest is scored.

    Raises:
        UserError: nothing to score, no readable reference, names that do not fit, a renderer that is not installed,
            or `out` cannot be written.
    """
    require_renderer(renderer)
    known = open_collection(Path(pictures)) if pictures is not None else None
    found = _named([find_assets(Path(folder), known) for folder in sets], names)
    ensure_folder(Path(out))
    judges: list[ImageEncoder] = list(encoders) if encoders is not None else [MiniDino(), MiniClip()]
    size = image_size or (MINI_SIZE if all(isinstance(j, MiniDino | MiniClip) for j in judges) else FULL_SIZE)
    targets = load_reference_set(Path(references), size) if references is not None else None
    with bar("rendering", sum(len(entry.assets) for entry in found)) as progress:
        loaded, left_out = _loaded(found, size, progress.advance, renderer)
    features = FeatureCache(Path(cache) if cache is not None else Path(out) / "features")
    seen = _look(loaded, targets, judges, text, features)
    report = describe(judges, targets, seen[0], text, size, renderer, _command())
    report["sets"] = [
        describe_set(one, by, _measure(one, by, targets, extras), targets) for one, by in zip(loaded, seen, strict=True)
    ]
    report["comparisons"], report["notes"] = compare_sets(loaded, seen)
    report["left_out"] = [{"file": str(entry.path), "reason": str(error)} for entry, error in left_out]
    write_report(report, loaded, targets, seen, Path(out))
    return report


def left_out_lines(report: dict[str, Any]) -> list[str]:
    """What a report leaves out of sets, references and files, one line each, for the terminal."""
    lines = []
    for entry in report["sets"]:
        lines += [f"skipped {one['file']}: {one['reason']}" for one in entry["skipped"] if not one["is_damaged"]]
        for asset in entry["assets"]:
            lines += [f"not followed: {asset['file']}: {line}" for line in asset["not_followed"]]
    references = report["references"] or {"skipped": []}
    lines += [f"skipped {one['file']}: {one['reason']}" for one in references["skipped"]]
    if skipped := len(references["skipped"]):
        used = len(references["names"])
        lines.append(f"{used} of {used + skipped} pictures used")
    return lines


def require_undamaged(report: dict[str, Any]) -> None:
    """That nothing of a report's sets had to be left out because it could not be read.

    Raises:
        UserError: something was; names the first of it.
    """
    damaged = [one for entry in report["sets"] for one in entry["skipped"] if one["is_damaged"]] + report["left_out"]
    if damaged:
        others = f", and {len(damaged) - 1} more" if len(damaged) > 1 else ""
        first = damaged[0]
        raise UserError(
            f"scored without what cannot be read: {first['file']} ({first['reason']}){others}; see the report."
        )


def judges_by_name(features: Sequence[str]) -> tuple[list[ImageEncoder], list[str]]:
    """What --features names: the encoders, and the extras ("lpips", "inception").

    Raises:
        UserError: an unknown name, or weights that are missing.
    """
    extras = [name for name in features if name in EXTRAS]
    return load_encoders([name for name in features if name not in EXTRAS]), extras


def _loaded(
    found: Sequence[AssetSet], size: int, advance: Callable[[str], None], renderer: Renderer
) -> tuple[list[LoadedSet], list[tuple[AssetSet, UserError]]]:
    """The sets of which anything can be scored, and the others, each with its error."""
    loaded, left_out = [], []
    for entry in found:
        try:
            loaded.append(load_set(entry, size, advance, renderer))
        except UserError as error:
            left_out.append((entry, error))
    if not loaded:
        raise left_out[0][1]
    return loaded, left_out


def _look(
    loaded: Sequence[LoadedSet],
    targets: References | None,
    judges: Sequence[ImageEncoder],
    text: str | None,
    cache: FeatureCache,
) -> list[list[Seen]]:
    """[set][judge]; a judge that cannot read has no text."""
    sentences: dict[str, Tensor | None] = {}
    known: dict[str, Tensor | None] = {}
    for judge in judges:
        known[judge.name] = cache.encode(judge, targets.pictures) if targets is not None else None
        sentences[judge.name] = None
        if text is not None and isinstance(judge, TextEncoder):
            sentences[judge.name] = judge.encode_text([text])[0]

    def seen(one: LoadedSet, judge: ImageEncoder) -> Seen:
        features: Tensor = cache.encode(judge, one.pictures).unflatten(0, one.views.shape[:2])
        own = None
        if one.own is not None:
            own = cache.encode(judge, [view for views in one.own for view in views]).unflatten(0, (len(one.own), -1))
        return Seen(judge.name, features, known[judge.name], sentences[judge.name], own)

    return [[seen(one, judge) for judge in judges] for one in loaded]


def _measure(one: LoadedSet, seen: Sequence[Seen], targets: References | None, extras: Sequence[str]) -> Scores:
    scores = Scores()
    if len(one.views) < 2:
        scores.notes.append("Diversity needs at least two assets; this set has one.")
    for by in seen:
        measure_features(by, scores)
    measure_pictures(one, scores)
    measure_extra(one, targets, extras, scores)
    return scores


def _named(found: Sequence[AssetSet], names: Sequence[str]) -> list[AssetSet]:
    if not found:
        raise UserError("nothing to evaluate: name at least one folder of runs, of meshes or of renders.")
    if names and len(names) != len(found):
        raise UserError(f"--names gives {len(names)} names for {len(found)} sets; give one for each, in their order.")
    if len(set(names)) != len(names):
        raise UserError("--names gives two sets one name; give each its own.")
    if names:
        return [replace(entry, name=name) for entry, name in zip(found, names, strict=True)]
    folders = [entry.name for entry in found]
    return [replace(e, name=str(e.path)) if folders.count(e.name) > 1 else e for e in found]


def _command() -> str:
    return shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])
