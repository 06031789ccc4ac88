"""The comparison of methods as tables: Markdown, LaTeX and CSV, all made from report.json's content."""

import csv
import html
import io
from collections.abc import Sequence
from typing import Any

from dreamdist3d.eval.metrics import METRICS

Column = tuple[str, str | None]  # metric, judge
_LATEX = str.maketrans(
    {c: "\\" + c for c in "&%$#_{}"}
    | {"~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "\\": r"\textbackslash{}", "\n": " "}
)
_FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what a spreadsheet takes a cell for that begins so


def columns(report: dict[str, Any]) -> list[Column]:
    """What was measured of any set, in the order of `METRICS`, judge by judge."""
    found = dict.fromkeys((s["metric"], s["judge"]) for entry in report["sets"] for s in entry["scores"])
    judges = [None, *(judge["name"] for judge in report["encoders"])]
    return sorted(found, key=lambda column: (list(METRICS).index(column[0]), judges.index(column[1])))


def markdown(report: dict[str, Any]) -> str:
    """A row a score and a column a set, the tests, and the paper's rows in a table of their own."""
    head = ["", "", "better", *(_without_html(entry["name"]) for entry in report["sets"])]
    rows = [
        [METRICS[metric].label, judge or "", METRICS[metric].better, *_cells(report, (metric, judge))]
        for metric, judge in columns(report)
    ]
    parts = [_markdown_table(head, rows), "Brackets: 95 % intervals over assets."]
    if report["comparisons"]:
        head = ["paired permutation test", "", "first less second", "p"]
        parts.append(_markdown_table(head, [_test(row) for row in report["comparisons"]]))
    published = report["published"]
    head = [f"PUBLISHED: {published['source']}", *published["columns"]]
    rows = [[row["method"], *(f"{row[column]:.2f}" for column in published["columns"])] for row in published["rows"]]
    return "\n\n".join([*parts, _markdown_table(head, rows), published["note"]]) + "\n"


def latex(report: dict[str, Any]) -> str:
    """Two tabulars for booktabs: what was measured, and what the paper published."""
    names = [entry["name"].translate(_LATEX) for entry in report["sets"]]
    lines = [r"\begin{tabular}{ll" + "r" * len(names) + "}", r"\toprule", " & ".join(["", "", *names]) + r" \\"]
    lines.append(r"\midrule")
    for metric, judge in columns(report):
        arrow = r"$\downarrow$" if METRICS[metric].better == "lower" else r"$\uparrow$"
        label = f"{METRICS[metric].label.translate(_LATEX)} {arrow}"
        lines.append(" & ".join([label, (judge or "").translate(_LATEX), *_cells(report, (metric, judge))]) + r" \\")
    published = report["published"]
    lines += [r"\bottomrule", r"\end{tabular}", "", f"% {published['note']}"]
    lines += [r"\begin{tabular}{l" + "r" * len(published["columns"]) + "}", r"\toprule"]
    lines += [" & ".join([f"Published ({published['source']})", *published["columns"]]) + r" \\", r"\midrule"]
    for row in published["rows"]:
        lines.append(" & ".join([row["method"], *(f"{row[column]:.2f}" for column in published["columns"])]) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"]) + "\n"


def table_csv(report: dict[str, Any]) -> str:
    """A line a score: set, metric, judge, side, better, value, low, high, source (measured or published)."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["source", "set", "metric", "judge", "side", "better", "value", "low", "high"])
    for entry in report["sets"]:
        for score in entry["scores"]:
            metric = METRICS[score["metric"]]
            numbers = [score["value"], score["low"], score["high"]]
            writer.writerow(
                [
                    "measured",
                    _without_formula(entry["name"]),
                    score["metric"],
                    score["judge"],
                    metric.side,
                    metric.better,
                    *numbers,
                ]
            )
    for row in report["published"]["rows"]:
        for column in report["published"]["columns"]:
            writer.writerow(
                ["published", row["method"], "pooled", column, "diversity", "lower", row[column], None, None]
            )
    return text.getvalue()


def number(value: float | None) -> str:
    """Three decimals with a true minus sign; a dash where there is no number."""
    return "–" if value is None else f"{value:.3f}".replace("-", "\u2212")


def with_interval(score: dict[str, Any] | None) -> str:
    """0.123 [0.100, 0.150]."""
    if score is None:
        return "–"
    if score["low"] is None:
        return number(score["value"])
    return f"{number(score['value'])} [{number(score['low'])}, {number(score['high'])}]"


def score_of(entry: dict[str, Any], column: Column) -> dict[str, Any] | None:
    """A set's score, if it has it."""
    return next((s for s in entry["scores"] if (s["metric"], s["judge"]) == column), None)


def _cells(report: dict[str, Any], column: Column) -> list[str]:
    return [with_interval(score_of(entry, column)) for entry in report["sets"]]


def _test(row: dict[str, Any]) -> list[str]:
    pair = f"{_without_html(row['first'])} − {_without_html(row['second'])}"
    name = f"{pair}: {METRICS[row['metric']].label}"
    return [name, row["judge"], number(row["difference"]), p_value(row["p_value"])]


def p_value(value: float) -> str:
    """Two digits that say something."""
    return f"{value:.2g}" if value >= 0.001 else "< 0.001"


def _without_html(name: str) -> str:
    """A user's word for a page that is rendered."""
    return html.escape(" ".join(name.split()), quote=False)


def _without_formula(name: str) -> str:
    """A user's word for a spreadsheet, which would compute what begins like a formula."""
    return f"'{name}" if name.startswith(_FORMULA) else name


def _markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
