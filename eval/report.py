"""report.json, report.html and contact_sheet.png."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from dreamdist3d.eval.pictures import contact_sheet, data_uri, heat_map, strip
from dreamdist3d.eval.renders import VIEW_NAMES
from dreamdist3d.files import write_atomic, write_json, write_text

SCHEMA_VERSION = 1
_REFERENCES_SHOWN = 32


@dataclass(frozen=True)
class ReportPictures:
    """What the report shows beside its numbers."""

    views: Sequence[np.ndarray]  # per set: uint8 [A, V, S, S, 3]
    references: np.ndarray | None  # uint8 [R, S, S, 3]


def write_report(report: dict[str, Any], pictures: ReportPictures, out: Path) -> None:
    """Write the three files into `out`.

    Args:
        report: what `evaluate` returns.
        pictures: the renders in the order of the report's sets, and the references.
        out: a folder, made if missing.

    Raises:
        UserError: the folder cannot be written.
    """
    titles = [(entry["name"], [asset["name"] for asset in entry["assets"]]) for entry in report["sets"]]
    sheet = contact_sheet([(*title, views) for title, views in zip(titles, pictures.views, strict=True)])
    write_json(out / "report.json", report)
    write_text(out / "report.html", render_html(report, pictures))
    write_atomic(out / "contact_sheet.png", lambda temporary: sheet.save(temporary, format="PNG"))


def render_html(report: dict[str, Any], pictures: ReportPictures) -> str:
    """The report as one page that needs nothing from outside itself."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["score"] = _score
    return environment.get_template("report.html.j2").render(
        report=report,
        view_names=VIEW_NAMES,
        strips=[[data_uri(strip(views)) for views in assets] for assets in pictures.views],
        heat_maps=[_heat_maps(entry) for entry in report["sets"]],
        references=_thumbnails(pictures.references),
    )


def _heat_maps(entry: dict[str, Any]) -> dict[str, str]:
    if len(entry["assets"]) < 2:
        return {}
    return {name: data_uri(heat_map(values["similarity_matrix"])) for name, values in entry["encoders"].items()}


def _thumbnails(references: np.ndarray | None) -> list[str]:
    if references is None:
        return []
    return [data_uri(strip(picture[None])) for picture in references[:_REFERENCES_SHOWN]]


def _score(value: float | None) -> str:
    """Three decimals with a true minus sign; a dash where there is no number."""
    return "–" if value is None else f"{value:.3f}".replace("-", "\u2212")
