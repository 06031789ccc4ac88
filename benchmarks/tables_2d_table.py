"""The cells of `tables_2d.py` in tables: means over families and seeds, and every cell in a CSV file."""

import csv
import io
import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch

from dreamdist3d.eval.statistics import AssetMean, Estimate, jackknife_mean, mean_of
from dreamdist3d.eval.statistics.estimate import quantile
from dreamdist3d.eval.statistics.intervals import FEWEST
from dreamdist3d.files import write_text
from tables_2d_scores import COLUMNS

Row = dict[str, dict[str, Any]]
_ABOUT = ("concept", "method", "references", "setting", "value", "seed", "pictures", "steps")
_NOISES = {"fresh": "a noise of its own for every draw", "matched": "one noise for all draws"}
_ORDER = ("coupled", "paper", "paper-diagonal", "instant", "textual-inversion", "textual-inversion-noise",
          "textual-inversion-each", "dreambooth", "dreambooth-lora", "custom-diffusion",
          "ip-adapter", "words")  # fmt: skip


def write_tables(out: Path) -> list[dict[str, Any]]:
    """Print a table for each study and kind of noise; write `cells.csv`; the cells."""
    cells = [json.loads(path.read_text()) for path in sorted((out / "cells").glob("*/scores.json"))]
    write_csv(out / "cells.csv", cells)
    plain = [cell for cell in cells if cell["references"] == 20 and not cell["setting"]]
    families = sorted({cell["concept"] for cell in plain if "+" not in cell["concept"] and cell["concept"] != "red"})
    print(f"\n{', '.join(families)}; seeds {sorted({cell['seed'] for cell in plain})}; {counts(plain)}")
    for noise, title in _NOISES.items():
        print_table(title, groups(plain, noise, lambda c: c["method"] if c["concept"] in families else None))
        print_differences(f"minus coupled, {title}", [c for c in plain if c["concept"] in families], noise)
    if any(cell["concept"] not in families for cell in plain):
        print_table("granularity", groups(plain, "fresh", lambda c: f"{c['concept']}, {c['method']}"))
    few = [cell for cell in cells if not cell["setting"] and cell["concept"] == families[0]]
    if len({cell["references"] for cell in few}) > 1:
        print_table("few references", groups(few, "fresh", lambda c: f"{c['method']}, {c['references']} references"))
    settings = [cell for cell in cells if cell["setting"]]
    for noise, title in _NOISES.items():
        print_table(
            f"settings, {title}", groups(settings, noise, lambda c: f"{c['method']}, {c['setting']} {c['value']:g}")
        )
    return cells


def counts(cells: Iterable[dict[str, Any]]) -> str:
    """How large the cells are."""
    found = {(cell["pictures"], cell["steps"]) for cell in cells}
    return "; ".join(f"{p} pictures a cell, {s or 'preset'} steps of learning" for p, s in sorted(found, key=str))


def write_csv(path: Path, cells: Sequence[dict[str, Any]]) -> None:
    """A line for each cell and kind of noise; errors are standard errors over pictures."""
    text = io.StringIO()
    columns = [column for name in COLUMNS for column in (name, f"{name}_error")]
    writer = csv.DictWriter(text, [*_ABOUT, "noise", *columns], lineterminator="\n")
    writer.writeheader()
    for cell in cells:
        for noise, row in cell["scores"].items():
            numbers = {name: one["value"] for name, one in row.items()}
            errors = {f"{name}_error": one["error"] for name, one in row.items()}
            writer.writerow({key: cell[key] for key in _ABOUT} | {"noise": noise} | numbers | errors)
    write_text(path, text.getvalue())


def groups(cells: Iterable[dict[str, Any]], noise: str, key: Any) -> dict[str, list[Row]]:
    """The scores of cells, by what `key` says of them; None leaves a cell out."""
    found: dict[str, list[Row]] = defaultdict(list)
    for cell in cells:
        if (name := key(cell)) is not None and noise in cell["scores"]:
            found[name].append(cell["scores"][noise])
    return dict(sorted(found.items(), key=lambda item: (_ORDER.index(item[0]) if item[0] in _ORDER else 99, item[0])))


def print_table(title: str, rows: dict[str, list[Row]]) -> None:
    """Markdown: means over cells, ± half of a 95 % interval.

    Of three cells or more it is Student's t over them; of fewer it is over their pictures, and tells nothing of other
    learnings.
    """
    if not rows:
        return
    columns = [name for name in COLUMNS if any(name in one for many in rows.values() for one in many)]
    print(f"\n| {title} | cells | {' | '.join(COLUMNS[name] for name in columns)} |")
    print("|" + "---|" * (len(columns) + 2))
    for name, many in rows.items():
        cells = [shown([one[column] for one in many if column in one]) for column in columns]
        print(f"| {name} | {len(many)} | {' | '.join(cells)} |")


def print_differences(title: str, cells: Sequence[dict[str, Any]], noise: str, than: str = "coupled") -> None:
    """Markdown: means of method minus `than` over learnings of the same references, ± half of a 95 % t interval."""
    found: dict[tuple[str, int], dict[str, Row]] = defaultdict(dict)
    for cell in cells:
        if noise in cell["scores"]:
            found[cell["concept"], cell["seed"]][cell["method"]] = cell["scores"][noise]
    pairs: dict[str, list[tuple[Row, Row]]] = defaultdict(list)
    for row in found.values():
        for method in set(row) - {than} if than in row else ():
            pairs[method].append((row[method], row[than]))
    pairs = {method: pairs[method] for method in _ORDER if len(pairs.get(method, ())) >= FEWEST}
    if not pairs:
        return
    columns = [name for name in COLUMNS if all(name in one for many in pairs.values() for both in many for one in both)]
    print(f"\n| {title} | pairs | {' | '.join(COLUMNS[name] for name in columns)} |")
    print("|" + "---|" * (len(columns) + 2))
    for method, many in pairs.items():
        cells_of = [difference([(a[name]["value"], b[name]["value"]) for a, b in many]) for name in columns]
        print(f"| {method} | {len(many)} | {' | '.join(cells_of)} |")


def difference(pairs: Sequence[tuple[float, float]]) -> str:
    """+0.05 ± 0.03."""
    estimate = jackknife_mean(AssetMean(torch.tensor([a - b for a, b in pairs], dtype=torch.float64)))
    reach = "" if estimate.error is None else f" ± {quantile(estimate.degrees) * estimate.error:.2f}"
    return f"{estimate.value:+.2f}{reach}"


def shown(values: Sequence[dict[str, Any]]) -> str:
    """0.512 ± 0.034."""
    if not values:
        return ""
    if len(values) >= FEWEST:
        estimate = jackknife_mean(AssetMean(torch.tensor([one["value"] for one in values], dtype=torch.float64)))
    else:
        estimate = mean_of([_estimate(one) for one in values])
    reach = "" if estimate.error is None else f" ± {quantile(estimate.degrees) * estimate.error:.2f}"
    return f"{estimate.value:.2f}{reach}"


def _estimate(one: dict[str, Any]) -> Estimate:
    if one["error"] is None:
        return Estimate(one["value"])
    return Estimate.of(one["value"], one["error"], one["degrees"])
