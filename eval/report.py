"""report.json, the tables, report.html and contact_sheet.png."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from dreamdist3d.eval.cards import Card, asset_cards
from dreamdist3d.eval.charts import distribution_chart, scatter_chart
from dreamdist3d.eval.load import LoadedSet, References
from dreamdist3d.eval.measure import Seen
from dreamdist3d.eval.metrics import METRICS
from dreamdist3d.eval.pictures import contact_sheet, data_uri, heat_map, strip
from dreamdist3d.eval.sorting import likeness_order
from dreamdist3d.eval.tables import columns, latex, markdown, number, p_value, score_of, table_csv, with_interval
from dreamdist3d.files import write_atomic, write_json, write_text

_TEMPLATES = Path(__file__).parent / "templates"
_REFERENCES_SHOWN = 32


def write_report(
    report: dict[str, Any],
    loaded: Sequence[LoadedSet],
    targets: References | None,
    seen: Sequence[Sequence[Seen]],
    out: Path,
) -> None:
    """Write report.json, report.html, table.md, table.tex, table.csv and contact_sheet.png into `out`.

    Args:
        report: what `evaluate` returns.
        loaded: the sets in the report's order.
        targets: the references.
        seen: what each judge makes of each set.

    Raises:
        UserError: the folder cannot be written.
    """
    sheets = [(e["name"], [a["name"] for a in e["assets"]], one.views, one.view_names)
              for e, one in zip(report["sets"], loaded, strict=True)]  # fmt: skip
    sheet = contact_sheet(sheets)
    write_json(out / "report.json", report)
    write_text(out / "table.md", markdown(report))
    write_text(out / "table.tex", latex(report))
    write_text(out / "table.csv", table_csv(report))
    write_text(out / "report.html", render_html(report, loaded, targets, seen))
    write_atomic(out / "contact_sheet.png", lambda temporary: sheet.save(temporary, format="PNG"))


def render_html(
    report: dict[str, Any], loaded: Sequence[LoadedSet], targets: References | None, seen: Sequence[Sequence[Seen]]
) -> str:
    """The report as one page that needs nothing from outside itself."""
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": number, "interval": with_interval, "p_value": p_value}
    cards = _all_cards(report, loaded, targets)
    return environment.get_template("report.html.j2").render(
        report=report,
        metrics=METRICS,
        columns=columns(report),
        score_of=score_of,
        cards=cards,
        matrices=[_matrices(entry) for entry in report["sets"]],
        scatters=[scatter_chart(report, judge["name"]) for judge in report["encoders"]],
        distributions=[distribution_chart(report, judge["name"], seen) for judge in report["encoders"]],
        references=_thumbnails(targets),
        viewer=(_TEMPLATES / "viewer.js").read_text(encoding="utf-8"),
        style=(_TEMPLATES / "report.css").read_text(encoding="utf-8"),
        flagged=sum(bool(asset["flags"]) for entry in report["sets"] for asset in entry["assets"]),
    )


def _all_cards(report: dict[str, Any], loaded: Sequence[LoadedSet], targets: References | None) -> list[list[Card]]:
    """Meshes are embedded in the order of the page until its budget is spent."""
    cards, spent = [], 0
    for entry, one in zip(report["sets"], loaded, strict=True):
        made = asset_cards(entry, one, targets, spent)
        spent += sum(len(card.mesh or "") for card in made)
        cards.append(made)
    return cards


def _matrices(entry: dict[str, Any]) -> dict[str, str]:
    if len(entry["assets"]) < 2:
        return {}
    return {
        judge: data_uri(heat_map(values["similarity_matrix"], likeness_order(values["similarity_matrix"])))
        for judge, values in entry["encoders"].items()
    }


def _thumbnails(targets: References | None) -> list[str]:
    if targets is None:
        return []
    pixels = ((targets.images.pixels[:_REFERENCES_SHOWN] + 1.0) * 127.5).round().byte().movedim(1, -1).numpy()
    return [data_uri(strip(picture[None]), 96) for picture in pixels]
