import csv
import io
import re

import pytest

from dreamdist3d.eval.describe import TABLE_4
from dreamdist3d.eval.tables import columns, latex, markdown, table_csv


def score(metric, judge, value, low=None, high=None):
    return {"metric": metric, "judge": judge, "value": value, "low": low, "high": high}


@pytest.fixture
def report():
    return {
        "encoders": [{"name": "mini-DINO"}],
        "published": TABLE_4,
        "sets": [
            {"name": "ours_1", "scores": [score("to_references", "mini-DINO", 0.5), score("hue_entropy", None, 2.0)]},
            {"name": "a|b", "scores": [score("pooled", "mini-DINO", -0.25, -0.5, 0.125)]},
        ],
        "comparisons": [
            {"first": "ours_1", "second": "a|b", "metric": "pooled", "judge": "mini-DINO", "difference": -0.5,
             "p_value": 0.0003, "permutations": 9999, "is_exact": False}
        ],
    }  # fmt: skip


def test_columns_stand_in_one_order_and_hold_whatever_any_set_has(report):
    assert columns(report) == [("pooled", "mini-DINO"), ("hue_entropy", None), ("to_references", "mini-DINO")]


def test_markdown_has_intervals_dashes_and_the_tests(report):
    text = markdown(report)
    assert "| −0.250 [−0.500, 0.125] |" in text and "| 0.500 | – |" in text
    assert "a\\|b" in text and "| −0.500 | < 0.001 |" in text
    cells = {line.replace("\\|", "").count("|") for line in text.split("\n\n")[0].splitlines()}
    assert cells == {6}


def test_published_rows_stand_in_a_table_of_their_own_marked_as_such(report):
    measured, published = markdown(report).split("| PUBLISHED")
    assert "0.63" not in measured and "Textual Inversion | 0.63 | 0.31" in published
    rows = list(csv.DictReader(io.StringIO(table_csv(report))))
    assert {row["set"] for row in rows if row["source"] == "published"} == {"Textual Inversion", "DreamDistribution"}
    assert {row["set"] for row in rows if row["source"] == "measured"} == {"ours_1", "a|b"}
    assert latex(report).count(r"\begin{tabular}") == 2


def test_latex_escapes_and_every_line_has_all_its_cells(report):
    first = latex(report).split(r"\end{tabular}")[0]
    assert r"ours\_1" in first
    lines = [line for line in first.splitlines() if line.endswith(r"\\")]
    assert {len(re.findall(r"(?<!\\)&", line)) for line in lines} == {3}


def test_csv_keeps_full_numbers(report):
    rows = list(csv.DictReader(io.StringIO(table_csv(report))))
    assert rows[2] == {
        "source": "measured", "set": "a|b", "metric": "pooled", "judge": "mini-DINO", "side": "diversity",
        "better": "lower", "value": "-0.25", "low": "-0.5", "high": "0.125",
    }  # fmt: skip


HOSTILE = [r"\input{/etc/passwd}", "=1+1", "@sum(A1)", "<script>alert(1)</script>", "a\n\nb & c", "-1", "+1", "\t=1"]


@pytest.mark.parametrize("name", HOSTILE)
def test_no_name_of_a_set_is_more_than_text(name, report):
    report["sets"][0]["name"] = name
    report["comparisons"][0]["first"] = name
    rows = list(csv.DictReader(io.StringIO(table_csv(report))))
    assert not rows[0]["set"].startswith(("=", "+", "-", "@", "\t", "\r")) and name in rows[0]["set"]
    assert "<script" not in markdown(report)
    tables = markdown(report).split("\n\n")
    assert {line.replace("\\|", "").count("|") for line in tables[0].splitlines()} == {6}
    first = latex(report).split(r"\end{tabular}")[0]
    assert r"\input" not in first and "\n\nb" not in first
