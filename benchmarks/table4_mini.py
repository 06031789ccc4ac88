"""The paper's Table 4 on the miniature, with what no published evaluation could measure: true attributes.

    python benchmarks/table4_mini.py --out outputs/table4
    python benchmarks/table4_mini.py --out outputs/table4-1 --seed 1               # another training
    python benchmarks/table4_mini.py --out outputs/table4 --others outputs/table4-1     # both together

Makes what `table4_lifts.py` names, scores each family as `dreamdist3d evaluate` does (`report-FAMILY/`), and means
over the families: intervals from the families' own errors, tests that swap assets within a family. Writes
`table4.json`, the text blocks of docs/results-mini.md (`table4.md`), every family's numbers (`table4.csv`) and a
contact sheet of fronts (`table4.png`).
"""

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
import tyro
from torch import Tensor

import table4_lifts as lifts
from attributes import family_hits
from dreamdist3d.eval import (
    FeatureCache,
    MiniClip,
    MiniDino,
    evaluate,
    jackknife,
    jackknife_mean,
    paired_permutation_test,
)
from dreamdist3d.eval.assets import find_assets
from dreamdist3d.eval.diversity import hue_divergence, hue_entropy, hue_histograms, similarity_matrix
from dreamdist3d.eval.flags import foreground
from dreamdist3d.eval.load import LoadedSet, load_reference_set, load_set
from dreamdist3d.eval.measure import Seen, means, vendi_estimate
from dreamdist3d.eval.statistics import AssetMean, Estimate, Mean, mean_of, share_of
from dreamdist3d.files import write_json, write_text
from dreamdist3d.mini.grids import save_grid
from dreamdist3d.mini.measures import dominant_color
from tables_2d_scores import NEAR

SIZE = 128
HEADS = {
    "pooled": "similarity, all pictures (Table 4) ↓",
    "matched": "similarity, matched views ↓",
    "vendi": "Vendi score ↑",
    "to_references": "similarity to references ↑",
    "to_text": "similarity to the text ↑",
    "hue_entropy": "hue entropy, bits ↑",
    "hue_divergence": "hue divergence, bits ↑",
    "family": "pictures called by their family's name ↑",
    "met": "references' main colours met ↑",
    "spread": "spread of main colours, of the references' ↑",
}


@dataclass(frozen=True, eq=False)
class Cell:
    """One method on one family."""

    loaded: LoadedSet
    seen: list[Seen]
    hits: Tensor  # [A], share of an asset's views that the mini CLIP calls by the family's name
    colors: Tensor  # [A, 3], RGB of the main part, seen from the front; NaN where nothing is seen
    wanted: Tensor  # [R, 3], the same of the references


@dataclass(frozen=True)
class Options(lifts.Options):
    """What to make, and what to mean over.

    Attributes:
        others: finished folders of other trainings, whose assets count too.
    """

    others: tuple[Path, ...] = ()


def main() -> None:
    options = tyro.cli(Options, description=__doc__)
    lifts.make(options)
    for family in options.families:
        folders = [lifts.set_folder(options, family, method) for method in options.methods]
        evaluate(
            folders,
            lifts.references(options, family),
            options.out / f"report-{family}",
            names=options.methods,
            text=f"a {family}",
            cache=options.out / "features",
        )
    trainings = [options, *(replace(options, out=folder) for folder in options.others)]
    cells = {m: [look(one, family, m) for one in trainings for family in options.families] for m in options.methods}
    scores = {m: {key: mean_of(list(values)) for key, values in estimates(cells[m]).items()} for m in options.methods}
    first, *others = options.methods
    tests = {other: compare(cells[first], cells[other]) for other in others}
    save(options, cells, scores, tests)


def look(options: Options, family: str, method: str) -> Cell:
    """What the judges make of a set; their features come from the reports' cache."""
    loaded = load_set(find_assets(lifts.set_folder(options, family, method)), SIZE, lambda name: None)
    references = load_reference_set(lifts.references(options, family), SIZE)
    cache, clip, seen = FeatureCache(options.out / "features"), MiniClip(), []
    for judge in (MiniDino(), clip):
        features = cache.encode(judge, loaded.pictures).unflatten(0, loaded.views.shape[:2])
        text = clip.encode_text([f"a {family}"])[0] if judge is clip else None
        seen.append(Seen(judge.name, features, cache.encode(judge, references.pictures), text))
    hits = family_hits(torch.stack(loaded.pictures), family, clip).double().view(len(loaded.views), -1).mean(dim=1)
    fronts = list(torch.from_numpy(loaded.views[:, 0]).movedim(-1, 1).float() / 255.0)
    colors, wanted = (main_colors(pictures, family) for pictures in (fronts, references.pictures))
    return Cell(loaded, seen, hits, colors, wanted[wanted.isfinite().all(dim=1)])


def main_colors(pictures: Sequence[Tensor], family: str) -> Tensor:
    """[N, 3]: RGB of the main part of each of N pictures, NaN where there is none."""
    return torch.stack(
        [torch.full((3,), torch.nan) if (c := dominant_color(p, family)) is None else c for p in pictures]
    )


def met(shown: Tensor, wanted: Tensor) -> float:
    """The share of the colours wanted [R, 3] that some of those shown [A, 3] is near to."""
    apart = torch.cdist(wanted, shown.nan_to_num(nan=9.0))
    return float((apart.amin(dim=1) < NEAR).double().mean())


def spread(colors: Tensor) -> float:
    """Mean distance of pairs of colours [A, 3], those that are not NaN."""
    return float(torch.pdist(colors[colors.isfinite().all(dim=1)]).mean())


def tested(cells: list[Cell]) -> Iterator[tuple[str, Mean]]:
    """The scores that are means, of the assets of all cells together: (key, mean)."""
    for parts in zip(*(cell.seen for cell in cells), strict=True):
        first = parts[0]
        joint = Seen(first.judge, torch.cat([part.features for part in parts]), first.references, first.text)
        for metric, mean in means(joint):
            yield f"{metric} {first.judge}", mean
    yield "family mini-CLIP", AssetMean(torch.cat([cell.hits for cell in cells]))


def estimates(cells: list[Cell]) -> dict[str, list[Estimate]]:
    """Every score of one method, family by family."""
    found: dict[str, list[Estimate]] = {}
    for cell in cells:
        for key, mean in tested([cell]):
            if key.startswith("family"):
                continue  # a share
            found.setdefault(key, []).append(jackknife_mean(mean))
        for key, estimate in others(cell):
            found.setdefault(key, []).append(estimate)
    return found


def others(cell: Cell) -> Iterator[tuple[str, Estimate]]:
    """The scores that are no means, and the share, which is one that stays within [0, 1]."""
    count = len(cell.loaded.views)
    yield "family mini-CLIP", share_of(float(cell.hits.mean()), count)
    for seen in cell.seen:
        yield f"vendi {seen.judge}", vendi_estimate(similarity_matrix(seen.features))
    yield "met", jackknife(lambda i: met(cell.colors[i], cell.wanted), count, 0.0, 1.0)
    yield "spread", jackknife(lambda i: spread(cell.colors[i]) / spread(cell.wanted), count, 0.0)
    hues = hue_histograms(cell.loaded.views, foreground(cell.loaded.views))
    for key, measure in (("hue_entropy", hue_entropy), ("hue_divergence", hue_divergence)):
        yield key, jackknife(lambda i, measure=measure: measure(hues[i]), count, 0.0)


def compare(first: list[Cell], second: list[Cell]) -> dict[str, dict]:
    """Paired permutation tests of two methods over all families."""
    groups: dict[str, list[Mean]] = {}
    for pair in zip(first, second, strict=True):
        for key, mean in tested(list(pair)):
            groups.setdefault(key, []).append(mean)
    return {key: asdict(paired_permutation_test(group, _generator(0))) for key, group in groups.items()}


def save(options: Options, cells: dict, scores: dict, tests: dict) -> None:
    """table4.json, table4.md, table4.csv and table4.png."""
    plain = {method: {key: value.as_dict() for key, value in row.items()} for method, row in scores.items()}
    by_family = {
        method: {key: {family: mean_of(values[place :: len(options.families)]).as_dict()
                       for place, family in enumerate(options.families)}
                 for key, values in estimates(cells[method]).items()}
        for method in options.methods
    }  # fmt: skip
    trainings = 1 + len(options.others)
    about = {"families": options.families, "assets": options.assets, "trainings": trainings}
    write_json(options.out / "table4.json", about | {"mean": plain, "by_family": by_family, "tests": tests})
    tables = [table(plain), *([test_table(tests)] if tests else [])]
    text = "\n\n".join(tables)
    write_text(options.out / "table4.md", text + "\n")
    write_csv(options.out / "table4.csv", by_family, options.assets * trainings)
    rows = [
        [torch.from_numpy(view).movedim(-1, 0).float() / 255.0 for view in cells[method][index].loaded.views[:, 0]]
        for index in range(len(cells[options.methods[0]]))
        for method in options.methods
    ]
    save_grid(rows, options.out / "table4.png", 1)
    print(text)


def table(rows: dict[str, dict[str, dict[str, float]]], title: str = "mean over families") -> str:
    """Markdown: a row a score and a column a method."""
    methods = list(rows)
    keys = sorted(rows[methods[0]], key=lambda key: list(HEADS).index(key.split()[0]))
    lines = [f"| {title} | {' | '.join(methods)} |", "|" + "---|" * (len(methods) + 1)]
    for key in keys:
        cells = [shown(rows[method][key]) for method in methods]
        lines.append(f"| {label(key)} | {' | '.join(cells)} |")
    return "\n".join(lines)


def test_table(tests: dict[str, dict[str, dict]]) -> str:
    """Markdown: a row a score, the difference to each other method and its p."""
    lines = [f"| distribution less … | {' | '.join(tests)} |", "|" + "---|" * (len(tests) + 1)]
    for key in next(iter(tests.values())):
        cells = [f"{tests[other][key]['difference']:+.3f}, p = {tests[other][key]['p_value']:.2g}" for other in tests]
        lines.append(f"| {label(key)} | {' | '.join(cells)} |")
    return "\n".join(lines)


def write_csv(path: Path, by_family: dict[str, dict[str, dict[str, dict]]], assets: int) -> None:
    """A line for each family, method and score, with its 95 % interval."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["family", "method", "assets", "score", "judge", "value", "low", "high"])
    for method, row in by_family.items():
        for key, families in row.items():
            for family, one in families.items():
                numbers = [None if one[name] is None else round(one[name], 4) for name in ("value", "low", "high")]
                writer.writerow([family, method, assets, *key.partition(" ")[::2], *numbers])
    write_text(path, text.getvalue())


def label(key: str) -> str:
    """ "pooled mini-DINO" in words."""
    metric, _, judge = key.partition(" ")
    return f"{HEADS[metric]}{f', {judge}' if judge else ''}"


def shown(value: dict[str, float | None]) -> str:
    """0.123 [0.100, 0.150]."""
    interval = f" [{value['low']:.3f}, {value['high']:.3f}]" if value["low"] is not None else ""
    return f"{value['value']:.3f}{interval}"


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


if __name__ == "__main__":
    main()
