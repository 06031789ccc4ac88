"""The study of objectives in tables: every variant's frontier over gamma."""

import json
import statistics
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

COLUMNS = (
    ("met", "met"),
    ("near", "near"),
    ("family", "family"),
    ("spread", "spread"),
    ("dino_similarity", "DINO sim"),
    ("clip_similarity", "CLIP sim"),
    ("clip_coverage", "CLIP cov"),
    ("clip_precision", "CLIP prec"),
    ("dino_coverage", "DINO cov"),
    ("dino_precision", "DINO prec"),
    ("color_coverage", "colour cov"),
    ("color_precision", "colour prec"),
)
RELATIVE = ("family", "spread")  # to the references' own
GOAL = {"met": 0.9, "family": 0.9, "spread": 0.8}


def print_tables(cells: Sequence[dict[str, Any]], out: Path, variants: Sequence[str] = ()) -> None:
    """For each kind of noise a table: variants by gammas, means over families and seeds; * where all goals are met."""
    own = {path.parent.name: json.loads(path.read_text()) for path in out.glob("*/references.json")}
    rows = defaultdict(list)
    for cell in cells:
        for row in cell["rows"]:
            rows[cell["variant"], row["gamma"], row["noise"]].append(relative(row, own[cell["family"]]))
    names = variants or list(dict.fromkeys(cell["variant"] for cell in cells))
    for noise, title in (("matched", "one noise"), ("fresh", "fresh noise")):
        print(f"\n### {title}\n\n| learning, gamma | n | {' | '.join(shown for _, shown in COLUMNS)} |")
        print(f"|---|---|{'---|' * len(COLUMNS)}")
        for variant, gamma, kind in sorted(
            rows, key=lambda key: (names.index(key[0]) if key[0] in names else -1, *key)
        ):
            if kind == noise and variant in names:
                print(line(f"{variant} {gamma:g}", rows[variant, gamma, kind]))
    print("\nReferences: " + "; ".join(f"{family} {row}" for family, row in sorted(own.items())))


def relative(row: dict[str, float], own: dict[str, float]) -> dict[str, float]:
    return {key: row[key] / own[key] if key in RELATIVE else row[key] for key, _ in COLUMNS}


def line(name: str, rows: Sequence[dict[str, float]]) -> str:
    """A table's row: means, and a star where every goal is met."""
    means = {key: statistics.mean(row[key] for row in rows) for key, _ in COLUMNS}
    star = " *" if all(means[key] >= least for key, least in GOAL.items()) else ""
    return f"| {name}{star} | {len(rows)} | {' | '.join(f'{means[key]:.2f}' for key, _ in COLUMNS)} |"
