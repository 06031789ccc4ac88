"""The page's charts as SVG: they take the page's colours, so that they suit light and dark."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from markupsafe import Markup, escape
from torch import Tensor

from dreamdist3d.eval.diversity.similarity import unit_vectors
from dreamdist3d.eval.measure import Seen
from dreamdist3d.eval.tables import number, score_of

_WIDTH, _HEIGHT = 560, 380
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 24, 20, 52
_ROW = 46


@dataclass(frozen=True)
class _Axis:
    """Numbers to pixels."""

    low: float
    high: float
    start: float
    end: float

    @classmethod
    def around(cls, values: Sequence[float], start: float, end: float) -> "_Axis":
        low, high = min(values), max(values)
        margin = max(high - low, 0.05) * 0.12
        return cls(low - margin, high + margin, start, end)

    def at(self, value: float) -> float:
        return round(self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start), 1)

    def ticks(self) -> list[float]:
        step = next(s for s in (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0) if (self.high - self.low) / s <= 6 or s == 1.0)
        first = int(self.low // step) + 1
        return [round(step * i, 2) for i in range(first, int(self.high // step) + 1)]


def scatter_chart(report: dict[str, Any], judge: str) -> Markup | None:
    """Fidelity to the right, diversity upwards, both with intervals; the references' own diversity as a line.

    None without references, or without a set of two assets.
    """
    found = [(e["name"], score_of(e, ("to_references", judge)), score_of(e, ("matched", judge)))
             for e in report["sets"]]  # fmt: skip
    points = [(name, x, y) for name, x, y in found if x and y]
    if not points:
        return None
    own = 1.0 - report["references"]["pooled"][judge] if report["references"]["pooled"][judge] is not None else None
    xs = [v for _, x, _ in points for v in _ends(x)]
    ys = [1.0 - v for _, _, y in points for v in _ends(y)] + ([own] if own is not None else [])
    across = _Axis.around(xs, _LEFT, _WIDTH - _RIGHT)
    up = _Axis.around(ys, _HEIGHT - _BOTTOM, _TOP)
    parts = [_frame(across, up)]
    if own is not None:
        parts.append(_line(_LEFT, up.at(own), _WIDTH - _RIGHT, up.at(own), "goal"))
        parts.append(_text(_WIDTH - _RIGHT, up.at(own) - 7, "references among themselves", "end", "quiet"))
    parts += [_point(i, name, x, y, across, up) for i, (name, x, y) in enumerate(points)]
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    parts.append(_text(middle, _HEIGHT - 10, "fidelity: similarity to the references →", "middle", "quiet"))
    parts.append(Markup('<g transform="translate(16 {}) rotate(-90)">{}</g>').format(
        (_TOP + _HEIGHT - _BOTTOM) / 2, _text(0, 0, "diversity: 1 − similarity →", "middle", "quiet")))  # fmt: skip
    return _svg(_HEIGHT, f"Diversity against fidelity under {judge}", parts)


def distribution_chart(report: dict[str, Any], judge: str, seen: Sequence[Sequence[Seen]]) -> Markup | None:
    """A row a set: a dot for each pair of assets, placed by their similarity; a bar at their mean.

    The last row holds the pairs of references. None where there are no pairs.
    """
    rows = [(e["name"], _upper(torch.tensor(e["encoders"][judge]["similarity_matrix"]))) for e in report["sets"]]
    known = next(by.references for by in seen[0] if by.judge == judge)
    if known is not None:
        unit = unit_vectors(known)
        rows.append(("references", _upper(unit @ unit.T)))
    rows = [(name, values) for name, values in rows if len(values)]
    if not rows:
        return None
    height = _TOP + _ROW * len(rows) + _BOTTOM
    across = _Axis.around(torch.cat([values for _, values in rows]).tolist(), _LEFT, _WIDTH - _RIGHT)
    parts = [_ticks(across, _TOP, height - _BOTTOM)]
    for i, (name, values) in enumerate(rows):
        middle = _TOP + _ROW * (i + 0.62)
        tint = f"s{i % 6}" if i < len(report["sets"]) else "own"
        parts.append(_text(_LEFT, middle - 15, f"{name}, mean {number(float(values.mean()))}", "start", "quiet"))
        parts += [_dot(across.at(v), middle + _jitter(n), 3, f"{tint} faint") for n, v in enumerate(values.tolist())]
        mean = across.at(float(values.mean()))
        parts.append(_line(mean, middle - 10, mean, middle + 12, f"mean {tint}"))
    parts.append(_text((_LEFT + _WIDTH - _RIGHT) / 2, height - 10, "similarity of two →", "middle", "quiet"))
    return _svg(height, f"Similarity of all pairs under {judge}", parts)


def _upper(matrix: Tensor) -> Tensor:
    """Of every pair, at most 800 of them, evenly taken."""
    rows, columns = torch.triu_indices(len(matrix), len(matrix), offset=1)
    values = matrix[rows, columns].double()
    return values[:: max(1, -(-len(values) // 800))]


def _jitter(number: int) -> float:
    """Spreads dots over the row without chance: the golden ratio's multiples."""
    return (number * 0.618034 % 1.0 - 0.5) * 14


def _ends(score: dict[str, Any]) -> list[float]:
    return [score["value"]] if score["low"] is None else [score["low"], score["high"]]


def _point(index: int, name: str, x: dict[str, Any], y: dict[str, Any], across: _Axis, up: _Axis) -> Markup:
    tint, left, top = f"s{index % 6}", across.at(x["value"]), up.at(1.0 - y["value"])
    parts = []
    if x["low"] is not None:
        parts.append(_line(across.at(x["low"]), top, across.at(x["high"]), top, f"whisker {tint}"))
    if y["low"] is not None:
        parts.append(_line(left, up.at(1.0 - y["low"]), left, up.at(1.0 - y["high"]), f"whisker {tint}"))
    parts.append(_dot(left, top, 6, tint))
    is_right = left > (_LEFT + _WIDTH - _RIGHT) / 2
    parts.append(_text(left + (-11 if is_right else 11), top - 10, name, "end" if is_right else "start", "label"))
    return Markup("").join(parts)


def _frame(across: _Axis, up: _Axis) -> Markup:
    rows = [_line(_LEFT, up.at(t), _WIDTH - _RIGHT, up.at(t), "grid") + _text(_LEFT - 8, up.at(t) + 4, f"{t:g}", "end",
            "quiet") for t in up.ticks()]  # fmt: skip
    return Markup("").join([*rows, _ticks(across, _TOP, _HEIGHT - _BOTTOM)])


def _ticks(across: _Axis, top: float, bottom: float) -> Markup:
    return Markup("").join(
        _line(across.at(t), top, across.at(t), bottom, "grid")
        + _text(across.at(t), bottom + 17, f"{t:g}".replace("-", "\u2212"), "middle", "quiet")
        for t in across.ticks()
    )


def _svg(height: float, title: str, parts: Sequence[Markup]) -> Markup:
    return Markup('<svg class="chart" viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>').format(
        _WIDTH, height, title, Markup("").join(parts)
    )


def _line(x1: float, y1: float, x2: float, y2: float, kind: str) -> Markup:
    return Markup('<line x1="{}" y1="{}" x2="{}" y2="{}" class="{}"/>').format(x1, y1, x2, y2, kind)


def _dot(x: float, y: float, radius: float, kind: str) -> Markup:
    return Markup('<circle cx="{}" cy="{:.1f}" r="{}" class="{}"/>').format(x, y, radius, kind)


def _text(x: float, y: float, words: str, anchor: str, kind: str) -> Markup:
    return Markup('<text x="{}" y="{}" text-anchor="{}" class="{}">{}</text>').format(x, y, anchor, kind, escape(words))
