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
Cells = list[dict[str, Any]]
_ABOUT = ("concept", "method", "references", "setting", "value", "seed", "pictures", "steps")
_NOISES = {"fresh": "a noise of its own for every draw", "matched": "one noise for all draws"}
_ORDER = ("coupled", "paper", "paper-diagonal", "instant", "textual-inversion", "textual-inversion-noise",
          "textual-inversion-each", "dreambooth", "dreambooth-lora", "custom-diffusion",
          "ip-adapter", "words")  # fmt: skip


def write_tables(out: Path, published: Path | None = None) -> list[dict[str, Any]]:
    """Print a table for each study and kind of noise; write `cells.csv`; the cells.

    Args:
        published: a `cells.csv` whose cells count too, where `out` has none of that kind.
    """
    cells = [json.loads(path.read_text()) for path in sorted((out / "cells").glob("*/scores.json"))]
    known = {_key(cell) for cell in cells}
    cells += [cell for cell in (read_csv(published) if published else ()) if _key(cell) not in known]
    cells.sort(key=_key)
    write_csv(out / "cells.csv", cells)
    plain = [cell for cell in cells if cell["references"] == 20 and not cell["setting"]]
    families = sorted({cell["concept"] for cell in plain if "+" not in cell["concept"] and cell["concept"] != "red"})
    print(f"\n{', '.join(families)}; seeds {sorted({cell['seed'] for cell in plain})}; {counts(plain)}")
    for noise, title in _NOISES.items():
        several = [c for c in plain if c["concept"] in families]
        print_table(title, groups(over_seeds(several) if len(families) >= FEWEST else several, noise, _method))
        print_differences(f"minus coupled, {title}", several, noise)
    wide = [cell for cell in plain if cell["concept"] not in families]
    beside = beside_of(wide, [cell | {"concept": cell["concept"].partition("+")[0]} for cell in wide], plain)
    for noise, title in _NOISES.items():
        print_table(f"granularity, {title}", groups(beside, noise, lambda c: f"{c['concept']}, {c['method']}"))
    few = [cell for cell in cells if cell["references"] != 20]
    few = beside_of(few, few, plain)
    for noise, title in _NOISES.items():
        print_table(f"few, {title}", groups(few, noise, lambda c: f"{c['method']}, {c['references']:2} references"))
    settings = [cell for cell in cells if cell["setting"]]
    for noise, title in _NOISES.items():
        print_table(
            f"settings, {title}", groups(settings, noise, lambda c: f"{c['method']}, {c['setting']} {c['value']:g}")
        )
    return cells


def beside_of(study: Cells, usual: Cells, plain: Cells) -> Cells:
    """A study's cells, and those of `plain` of the same concept, method and seed as one of `usual`."""
    known = {(cell["concept"], cell["method"], cell["seed"]) for cell in usual}
    return study + [
        cell for cell in plain if (cell["concept"], cell["method"], cell["seed"]) in known and cell not in study
    ]


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
            about = {key: cell[key] for key in _ABOUT} | {
                "value": float(cell["value"]),
                "steps": cell["steps"] or "preset",
            }
            writer.writerow(about | {"noise": noise} | numbers | errors)
    write_text(path, text.getvalue())


def read_csv(path: Path) -> list[dict[str, Any]]:
    """The cells of a file that `write_csv` made; their errors have as many degrees of freedom as pictures less one."""
    cells: dict[tuple, dict[str, Any]] = {}
    with path.open(newline="") as file:
        for line in csv.DictReader(file):
            about: dict[str, Any] = {key: line[key] for key in _ABOUT}
            about |= {key: int(line[key]) for key in ("references", "seed", "pictures")}
            about |= {"value": float(line["value"]), "steps": None if line["steps"] == "preset" else int(line["steps"])}
            row = {name: _read_score(line, name, about["pictures"]) for name in COLUMNS if line[name]}
            cells.setdefault(_key(about), about | {"scores": {}})["scores"][line["noise"]] = row
    return list(cells.values())


def _read_score(line: dict[str, str], name: str, pictures: int) -> dict[str, Any]:
    error = line[f"{name}_error"]
    return {"value": float(line[name]), "error": float(error) if error else None, "degrees": pictures - 1}


def _key(cell: dict[str, Any]) -> tuple[str, ...]:
    return tuple(str(cell[key]) for key in _ABOUT if key != "value") + (str(float(cell["value"])),)


def over_seeds(cells: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """One cell for each concept and method, of the seeds' means: learnings from the same pictures are no sample."""
    alike: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for cell in cells:
        alike[cell["concept"], cell["method"]].append(cell)
    return [
        first
        | {
            "scores": {
                noise: _mean_row([one["scores"][noise] for one in (first, *others)]) for noise in first["scores"]
            }
        }
        for first, *others in alike.values()
    ]


def _mean_row(rows: Sequence[Row]) -> Row:
    names = [name for name in rows[0] if all(name in row for row in rows)]
    means = {name: mean_of([_estimate(row[name]) for row in rows]) for name in names}
    return {name: {"value": one.value, "error": one.error, "degrees": one.degrees} for name, one in means.items()}


def _method(cell: dict[str, Any]) -> str:
    return cell["method"]


def groups(cells: Iterable[dict[str, Any]], noise: str, key: Any) -> dict[str, list[Row]]:
    """The scores of cells, by what `key` says of them; None leaves a cell out."""
    found: dict[str, list[Row]] = defaultdict(list)
    for cell in cells:
        if (name := key(cell)) is not None and noise in cell["scores"]:
            found[name].append(cell["scores"][noise])
    return dict(sorted(found.items(), key=lambda item: (_ORDER.index(item[0]) if item[0] in _ORDER else 99, item[0])))


def print_table(title: str, rows: dict[str, list[Row]]) -> None:
    """Markdown: means over cells, ± half of a 95 % interval.

    Of three cells or more it is Student's t over them (of several families a cell is the mean of a family's seeds); of
    fewer it is over their pictures, and tells nothing of other learnings.
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
    """Markdown: means of method minus `than` over families, ± half of a 95 % t interval.

    Learnings are paired by references and seed, and what is known of a family is the mean of its seeds.
    """
    pairs = {method: _pairs(cells, noise, method, than) for method in _ORDER if method != than}
    pairs = {method: families for method, families in pairs.items() if len(families) >= FEWEST}
    if not pairs:
        return
    rows = [row for families in pairs.values() for both in families.values() for pair in both for row in pair]
    columns = [name for name in COLUMNS if all(name in row for row in rows)]
    print(f"\n| {title} | families | learnings | {' | '.join(COLUMNS[name] for name in columns)} |")
    print("|" + "---|" * (len(columns) + 3))
    for method, families in pairs.items():
        shown_cells = [difference([_mean_pair(both, name) for both in families.values()]) for name in columns]
        learnings = sum(len(both) for both in families.values())
        print(f"| {method} | {len(families)} | {learnings} | {' | '.join(shown_cells)} |")


def _pairs(cells: Sequence[dict[str, Any]], noise: str, method: str, than: str) -> dict[str, list[tuple[Row, Row]]]:
    """The scores of two methods that learned from the same pictures with the same seed, by concept."""
    rows = {(c["concept"], c["seed"], c["method"]): c["scores"][noise] for c in cells if noise in c["scores"]}
    found: dict[str, list[tuple[Row, Row]]] = defaultdict(list)
    for (concept, seed, name), row in rows.items():
        if name == method and (concept, seed, than) in rows:
            found[concept].append((row, rows[concept, seed, than]))
    return found


def _mean_pair(pairs: Sequence[tuple[Row, Row]], name: str) -> tuple[float, float]:
    first, second = ([row[name]["value"] for row in side] for side in zip(*pairs, strict=True))
    return sum(first) / len(first), sum(second) / len(second)


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
