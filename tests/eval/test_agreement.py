"""An asset beside what its draw looked like before there was a shape."""

import json
from pathlib import Path

import pytest
import torch
from jsonschema import Draft202012Validator
from PIL import Image

from dreamdist3d.eval import evaluate
from dreamdist3d.eval.fidelity import agreement
from dreamdist3d.eval.renders import VIEW_NAMES, render_views
from dreamdist3d.mesh.read import read_file
from tests.eval.test_evaluate import ColorJudge, make_run

ROOT = Path(__file__).parents[2]


def shown(run):
    """uint8 [4, S, S, 3]: what the judge sees of a run."""
    return render_views(read_file(run / "export" / "model.glb").parts, 32)


def keep_views(run, of: int) -> None:
    """The first views of a draw that looked like box `of`."""
    (run / "save").mkdir()
    for name, view in zip(VIEW_NAMES, shown(run.parent / str(of)), strict=True):
        Image.fromarray(view).save(run / "save" / f"sample_{name}.png")


def found(folder, out):
    report = evaluate([folder], None, out, image_size=32, encoders=[ColorJudge()])
    Draft202012Validator(json.loads((ROOT / "eval/templates/report.schema.json").read_text())).validate(report)
    return {one["metric"]: one for one in report["sets"][0]["scores"]}


def test_it_is_the_mean_cosine_of_the_same_views_and_the_page_shows_them(tmp_path) -> None:
    runs = [make_run(tmp_path / "boxes" / str(index), index) for index in range(2)]
    for run in runs:
        keep_views(run, 0)
    judge = ColorJudge()
    looks = [judge.encode(list(torch.from_numpy(shown(run)).movedim(-1, 1) / 255)) for run in runs]
    expected = (1 + float((looks[0] * looks[1]).sum(dim=1).mean())) / 2
    score = found(tmp_path / "boxes", tmp_path / "report")["agreement"]
    assert score["judge"] == "colours" and score["value"] == pytest.approx(expected, abs=1e-5)
    assert (tmp_path / "report" / "report.html").read_text().count('class="own"') == 2


def test_without_the_views_of_all_there_is_none(tmp_path) -> None:
    runs = [make_run(tmp_path / "boxes" / str(index), index) for index in range(2)]
    keep_views(runs[0], 0)
    assert "agreement" not in found(tmp_path / "boxes", tmp_path / "report")


def test_views_that_do_not_match_are_an_error() -> None:
    with pytest.raises(ValueError, match="same views"):
        agreement(torch.zeros(2, 4, 3), torch.zeros(2, 3, 3))
