import json
import re
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh
from jsonschema import Draft202012Validator
from PIL import Image

import dreamdist3d.eval
from dreamdist3d.errors import UserError
from dreamdist3d.eval import evaluate, load
from dreamdist3d.eval.assets import find_assets
from dreamdist3d.eval.diversity import matched_view_similarity
from dreamdist3d.eval.renders import render_views
from dreamdist3d.mesh import hits, read_mesh, write_glb
from tests.eval.tiny import colored

COLORS = [(230, 20, 20), (20, 200, 20), (20, 20, 230)]


class ColorJudge:
    """Features are the nine mean colours of a picture's 3x3 tiles: simple enough to check by hand."""

    name, model_id, resize = "colours", "colours@1", "means of 3 x 3 tiles"

    def encode(self, images) -> torch.Tensor:
        tiles = [torch.nn.functional.adaptive_avg_pool2d(image, 3).flatten() for image in images]
        return torch.nn.functional.normalize(torch.stack(tiles), dim=-1)


def box(index: int) -> trimesh.Trimesh:
    return colored(trimesh.creation.box((1, 1 + index, 1)), COLORS[index])


def make_run(folder: Path, index: int) -> Path:
    write_glb(box(index), folder / "export" / "model.glb")
    manifest = {
        "state": "done",
        "draw": {"seed": 70 + index, "gamma": 1.5, "covariance": "low_rank"},
        "distribution": {"path": "boxes.safetensors", "sha256": "abc123" * 10},
        "config": {"seed": index},
        "backbone": {"name": "mini"},
        "versions": {"torch": "2"},
    }
    (folder / "run.json").write_text(json.dumps(manifest))
    return folder


@pytest.fixture
def runs(tmp_path):
    for index in range(3):
        make_run(tmp_path / "outputs" / "boxes" / f"draw-{index}", index)
    return tmp_path / "outputs"


@pytest.fixture
def references(tmp_path):
    folder = tmp_path / "references <&>"
    folder.mkdir()
    for index, color in enumerate(COLORS):
        Image.new("RGB", (40, 40), color).save(folder / f"{index}.png")
    (folder / "broken.jpg").write_bytes(b"no picture")
    return folder


def score(sets, references, out):
    return evaluate(sets, references, out, image_size=32, encoders=[ColorJudge()])


def test_the_renderer_is_asked_for_and_recorded(runs, references, tmp_path, monkeypatch):
    asked = []

    def spy(parts, size, renderer):
        asked.append(renderer)
        return render_views(parts, size)

    monkeypatch.setattr(load, "render_views", spy)
    monkeypatch.setattr(hits, "_finder", lambda name: hits._embree)
    report = evaluate(
        [runs], references, tmp_path / "out", image_size=32, encoders=[ColorJudge()], renderer="pytorch3d"
    )
    assert asked == ["pytorch3d"] * 3 and report["views"]["renderer"] == "pytorch3d"


def test_a_renderer_that_is_missing_is_told_before_any_work(runs, references, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pytorch3d", None)
    monkeypatch.delitem(sys.modules, "dreamdist3d.mesh.hits_pytorch3d", raising=False)
    with pytest.raises(UserError, match="--renderer pytorch3d: .*use --renderer embree"):
        evaluate([runs], references, tmp_path / "out", encoders=[ColorJudge()], renderer="pytorch3d")
    assert not (tmp_path / "out").exists()


def test_report_holds_the_numbers_of_the_renders(runs, references, tmp_path):
    report = score([runs], references, tmp_path / "out")
    entry = report["sets"][0]
    assert [asset["name"] for asset in entry["assets"]] == [f"boxes/draw-{index}" for index in range(3)]
    files = sorted(runs.rglob("model.glb"))
    views = np.stack([render_views(read_mesh(path), 32) for path in files])
    images = torch.from_numpy(views).flatten(0, 1).movedim(-1, 1).float() / 255
    features = ColorJudge().encode(images).unflatten(0, (3, 4))
    values = entry["encoders"]["colours"]
    assert values["matched"] == pytest.approx(matched_view_similarity(features), abs=1e-6)
    assert values["matched"] < 0.999
    assert values["to_references"]["nearest_name"] == ["0.png", "1.png", "2.png"]
    assert np.shape(values["similarity_matrix"]) == (3, 3)
    assert entry["assets"][1]["draw"]["seed"] == 71 and entry["assets"][1]["seed"] == 1
    assert report["references"]["skipped"][0]["file"].endswith("broken.jpg")


def test_json_on_disk_is_the_returned_report(runs, references, tmp_path):
    report = score([runs], references, tmp_path / "out")

    def refuse(constant):
        raise AssertionError(f"{constant} is not JSON")

    assert json.loads((tmp_path / "out" / "report.json").read_text(), parse_constant=refuse) == report
    schema = json.loads((Path(dreamdist3d.eval.__file__).parent / "templates" / "report.schema.json").read_text())
    Draft202012Validator.check_schema(schema)
    Draft202012Validator(schema).validate(report)


class Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open, self.addresses, self.tags = [], [], []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.addresses += [value for name, value in attributes if name in ("src", "href", "srcset")]
        if tag not in ("meta", "img", "link", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_html_needs_nothing_from_outside(runs, references, tmp_path):
    score([runs], references, tmp_path / "out")
    html = (tmp_path / "out" / "report.html").read_text()
    page = Page()
    page.feed(html)
    assert not page.open
    # Three turntables with two neighbours each, three references, one heat map, and the icon that is none.
    assert len(page.addresses) == 3 * 3 + 3 + 1 + 1
    assert all(address.startswith("data:") for address in page.addresses)
    assert not re.search(r"https?://|@import|url\(", html)
    assert "prefers-color-scheme: dark" in html and 'name="viewport"' in html
    assert "references &lt;&amp;&gt;" in html


def test_contact_sheet_has_a_row_an_asset_and_a_column_a_view(runs, tmp_path):
    score([runs], None, tmp_path / "out")
    sheet = np.asarray(Image.open(tmp_path / "out" / "contact_sheet.png")).astype(int)
    strongest = [(sheet.argmax(-1) == channel) & (np.ptp(sheet, axis=-1) > 120) for channel in range(3)]
    rows = [np.nonzero(mask)[0] for mask in strongest]
    assert rows[0].max() < rows[1].min() and rows[1].max() < rows[2].min()
    columns = strongest[0].any(axis=0).astype(int)
    assert (np.diff(columns) == 1).sum() == 4


def test_one_asset_has_no_diversity_and_a_note(tmp_path):
    report = score([make_run(tmp_path / "run", 0)], None, tmp_path / "out")
    values = report["sets"][0]["encoders"]["colours"]
    assert values["matched"] is None and values["pooled"] is None and values["to_references"] is None
    assert "at least two" in report["sets"][0]["notes"][0]
    assert report["sets"][0]["assets"][0]["name"] == "run"
    assert "at least two" in (tmp_path / "out" / "report.html").read_text()


def test_unreadable_meshes_are_named_and_skipped(runs, tmp_path):
    broken = runs / "boxes" / "draw-1" / "export" / "model.glb"
    broken.write_bytes(b"glTF and then nothing")
    make_run(runs / "boxes" / "draw-9", 0)
    (runs / "boxes" / "draw-9" / "export" / "model.glb").unlink()
    report = score([runs], None, tmp_path / "out")
    entry = report["sets"][0]
    assert [asset["name"] for asset in entry["assets"]] == ["boxes/draw-0", "boxes/draw-2"]
    skipped = {item["file"]: item["reason"] for item in entry["skipped"]}
    assert "cannot be read" in skipped[str(broken)]
    assert "export the run" in skipped[str(runs / "boxes" / "draw-9")]
    assert str(broken) in (tmp_path / "out" / "report.html").read_text()


def test_several_sets_of_glb_files_beside_each_other(tmp_path):
    for place in ("one/same", "two/same"):
        for index in range(2):
            write_glb(box(index), tmp_path / place / f"{index}.glb")
    report = score([tmp_path / "one/same", tmp_path / "two/same"], None, tmp_path / "out")
    assert [entry["name"] for entry in report["sets"]] == [str(tmp_path / "one/same"), str(tmp_path / "two/same")]
    assert report["sets"][0]["encoders"] == report["sets"][1]["encoders"]
    assert report["sets"][0]["assets"][0]["draw"] is None


def test_many_assets_stand_in_blocks(tmp_path):
    for index in range(18):
        write_glb(box(index % 3), tmp_path / "set" / f"{index:02d}-{'long name ' * 8}.glb")
    report = score([tmp_path / "set"], None, tmp_path / "out")
    assert len(report["sets"][0]["assets"]) == 18
    width, height = Image.open(tmp_path / "out" / "contact_sheet.png").size
    assert width == 3 * (4 * 32 + 48) and height < 10 * 100


def test_runs_are_found_three_folders_down_and_no_deeper(tmp_path):
    make_run(tmp_path / "a" / "b" / "c", 0)
    make_run(tmp_path / "a" / "b" / "d" / "e", 1)
    assert [asset.name for asset in find_assets(tmp_path).assets] == ["a/b/c"]


def test_nothing_to_score_says_what_was_looked_for(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"empty: neither runs \(run\.json with export/model\.glb.*nor renders"):
        score([tmp_path / "empty"], None, tmp_path / "out")
    with pytest.raises(UserError, match="not a folder"):
        score([tmp_path / "missing"], None, tmp_path / "out")
    with pytest.raises(UserError, match="at least one folder"):
        score([], None, tmp_path / "out")
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "a.glb").write_bytes(b"")
    with pytest.raises(UserError, match=r"none of the 1 assets.*a\.glb cannot be read"):
        score([tmp_path / "set"], None, tmp_path / "out")


def test_names_must_fit_the_sets_and_differ(tmp_path):
    for name in ("a", "b"):
        write_glb(box(0), tmp_path / name / "0.glb")
    sets = [tmp_path / "a", tmp_path / "b"]

    def named(*names):
        return evaluate(sets, None, tmp_path / "out", encoders=[ColorJudge()], names=names, image_size=16)

    with pytest.raises(UserError, match="1 names for 2 sets"):
        named("ours")
    with pytest.raises(UserError, match="one name"):
        named("ours", "ours")
    assert [entry["name"] for entry in named("ours", "TI")["sets"]] == ["ours", "TI"]


def test_features_are_computed_once_and_kept_in_the_report_s_folder(runs, references, tmp_path):
    class Counting(ColorJudge):
        seen = 0

        def encode(self, images):
            self.seen += len(images)
            return super().encode(images)

    judge = Counting()
    first = evaluate([runs], references, tmp_path / "out", encoders=[judge], image_size=32)
    once = judge.seen
    second = evaluate([runs], references, tmp_path / "out", encoders=[judge], image_size=32)
    assert 6 <= judge.seen == once  # three references, and at least one view of each asset
    assert first["sets"] == second["sets"]
    assert (tmp_path / "out" / "features").is_dir()


def test_a_judge_that_reads_scores_the_text_and_others_leave_it_out(runs, tmp_path):
    class Reader(ColorJudge):
        name = "reader"

        def encode_text(self, texts):
            return torch.eye(27)[:1]

    report = evaluate([runs], None, tmp_path / "out", encoders=[Reader(), ColorJudge()], text="a box", image_size=32)
    found = [score["judge"] for score in report["sets"][0]["scores"] if score["metric"] == "to_text"]
    assert found == ["reader"] and report["text"] == "a box"


def test_unknown_measures_and_too_few_pictures_for_fid_are_told(runs, references, tmp_path):
    with pytest.raises(UserError, match="no measure 'fvd'"):
        evaluate([runs], None, tmp_path / "out", encoders=[ColorJudge()], extras=["fvd"], image_size=16)
    report = evaluate(
        [runs], references, tmp_path / "out", encoders=[ColorJudge()], extras=["inception"], image_size=16
    )
    notes = report["sets"][0]["notes"]
    assert any(note.startswith("fid: no FID: with 3 pictures") for note in notes)
    assert "fid" not in {score["metric"] for score in report["sets"][0]["scores"]}
