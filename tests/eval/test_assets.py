import json

import numpy as np
import pytest
import trimesh
from PIL import Image

from dreamdist3d.errors import UserError
from dreamdist3d.eval import evaluate
from dreamdist3d.eval.assets import find_assets
from dreamdist3d.eval.evaluate import left_out_lines, require_undamaged
from dreamdist3d.eval.load import load_set, open_picture
from dreamdist3d.mesh.read import read_file
from tests.eval.test_evaluate import COLORS, ColorJudge
from tests.eval.tiny import colored
from tests.mesh.reading.files import cube, gltf, png, quarters, textured


def renders(folder, assets, views=("back", "front")):
    for asset, color in zip(assets, COLORS, strict=False):
        (folder / asset).mkdir(parents=True)
        for index, view in enumerate(views):
            picture = Image.new("RGB", (60 + 10 * index, 50), "white")
            picture.paste(color, (20, 15, 40 + 10 * index, 35))
            picture.save(folder / asset / f"{view}.png")
    return folder


def test_obj_and_ply_files_are_assets_and_equal_stems_keep_their_endings(tmp_path):
    mesh = colored(trimesh.creation.box(), (200, 10, 10))
    for name in ("a.ply", "b.obj", "b.ply", "c.glb"):
        mesh.export(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no asset")
    found = find_assets(tmp_path)
    assert found.kind == "meshes"
    assert [asset.name for asset in found.assets] == ["a", "b.obj", "b.ply", "c"]
    assert load_set(found, 32, lambda name: None).views.shape == (4, 4, 32, 32, 3)


def test_views_of_renders_are_matched_by_file_name_whatever_their_endings(tmp_path):
    folder = renders(tmp_path / "set", ["one", "two"])
    (folder / "two" / "front.png").rename(folder / "two" / "front.tmp")
    Image.open(folder / "two" / "front.tmp").save(folder / "two" / "front.webp", lossless=True)
    loaded = load_set(find_assets(folder), 16, lambda name: None)
    assert loaded.view_names == ("back", "front") and loaded.entry.kind == "renders"
    assert loaded.views.shape == (2, 2, 16, 16, 3) and loaded.meshes is None
    assert np.abs(loaded.views[1, :, 8, 8] - np.array(COLORS[1])).max() <= 2


def test_an_asset_that_lacks_a_view_of_the_others_is_skipped_by_name(tmp_path):
    folder = renders(tmp_path / "set", ["one", "two", "three"])
    (folder / "two" / "front.png").unlink()
    found = find_assets(folder)
    assert [asset.name for asset in found.assets] == ["one", "three"]
    assert found.skipped == [(folder / "two", "no view 'front'")]


def test_renders_that_share_no_view_are_an_error_in_one_line(tmp_path):
    for index in range(4):
        renders(tmp_path, [f"asset-{index}"], views=[f"view-{index}"])
    with pytest.raises(UserError, match="share no view"):
        find_assets(tmp_path)


def test_runs_without_meshes_are_no_renders(tmp_path):
    renders(tmp_path / "run", ["save"])
    (tmp_path / "run" / "run.json").write_text("{}")
    with pytest.raises(UserError, match="none of the 1 runs in .* has export/model.glb"):
        find_assets(tmp_path)


def test_judges_see_renders_and_references_in_their_own_resolution(tmp_path):
    renders(tmp_path, ["one"])
    picture = open_picture(tmp_path / "one" / "front.png")
    assert picture.shape == (3, 50, 50)
    assert np.allclose(picture[:, 25, 25].numpy(), np.array(COLORS[0]) / 255, atol=1e-6)
    Image.new("RGB", (2000, 1500)).save(tmp_path / "large.png")
    assert open_picture(tmp_path / "large.png").shape == (3, 1024, 1024)


def test_renders_of_another_system_are_scored_beside_meshes(tmp_path):
    renders(tmp_path / "theirs", ["one", "two", "three"], views=("front", "left", "back", "right"))
    for index, color in enumerate(COLORS):
        (tmp_path / "ours").mkdir(exist_ok=True)
        colored(trimesh.creation.box((1, 1 + index, 1)), color).export(tmp_path / "ours" / f"{index}.ply")
    report = evaluate(
        [tmp_path / "ours", tmp_path / "theirs"], None, tmp_path / "out", encoders=[ColorJudge()], image_size=32
    )
    ours, theirs = report["sets"]
    assert [entry["kind"] for entry in report["sets"]] == ["meshes", "renders"]
    metrics = [{score["metric"] for score in entry["scores"]} for entry in (ours, theirs)]
    assert metrics[0] - metrics[1] == {"chamfer", "extent_spread", "volume_spread"}
    assert report["comparisons"] == [] and "different names" in report["notes"][0]


def run(folder, record="{}", mesh=True):
    """A run of ours, as far as evaluation looks at it."""
    (folder / "export").mkdir(parents=True)
    (folder / "run.json").write_text(record)
    if mesh:
        colored(trimesh.creation.box(), (200, 10, 10)).export(folder / "export" / "model.glb")
    return folder


@pytest.mark.parametrize(
    "record", ["{", '{"draw": 3}', "[]", "[" * 100_000, '{"config": "x"}', '{"versions": ["torch"]}']
)
def test_a_record_that_cannot_be_read_costs_its_run_alone(record, tmp_path):
    run(tmp_path / "a"), run(tmp_path / "b", record), run(tmp_path / "c", mesh=False)
    found = find_assets(tmp_path)
    assert [asset.name for asset in found.assets] == ["a"]
    assert [path.name for path, _ in found.damaged] == ["b"] and "run.json" in found.damaged[0][1]
    assert [path.name for path, _ in found.skipped] == ["c"]


def test_what_a_killed_writer_left_is_no_asset(tmp_path):
    mesh = colored(trimesh.creation.box(), (200, 10, 10))
    for name in ("a.glb", ".a.glb.x1.part.glb"):
        mesh.export(tmp_path / name)
    assert [asset.name for asset in find_assets(tmp_path).assets] == ["a"]
    renders(tmp_path / "set", ["one", "two", ".one.x1"])
    (tmp_path / "set" / "one" / ".front.x.part.png").write_bytes(b"half")
    assert [asset.name for asset in find_assets(tmp_path / "set").assets] == ["one", "two"]


def trial(folder, steps, pictures=()):
    """What threestudio leaves of a trial: tests and exports of several steps."""
    for step in steps:
        colored(trimesh.creation.box(), (step, 10, 10)).export(
            ensured(folder / "save" / f"it{step}-export") / "model.glb"
        )
    for step in pictures:
        for number in (0, 9, 10):
            Image.new("RGB", (8, 8), (step, 0, 0)).save(ensured(folder / "save" / f"it{step}-test") / f"{number}.png")
    return folder


def ensured(folder):
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def test_a_trial_of_threestudio_is_one_asset_its_last_mesh(tmp_path):
    (
        trial(tmp_path / "t" / "one", [9, 100, 20], [100]),
        trial(tmp_path / "t" / "two", [5]),
        trial(tmp_path / "t" / "three", [], [7]),
    )
    (tmp_path / "t" / "one" / "dreamdist3d.json").write_text(json.dumps({"draw": {"seed": 4}}))
    found = find_assets(tmp_path / "t")
    assert found.kind == "meshes" and [asset.name for asset in found.assets] == ["one", "two"]
    assert found.assets[0].path.parent.name == "it100-export" and found.assets[0].manifest["draw"]["seed"] == 4
    assert [path.name for path, _ in found.skipped] == ["three"]
    for place in (tmp_path / "t" / "one", tmp_path / "t" / "one" / "save"):
        assert [asset.path.parent.name for asset in find_assets(place).assets] == ["it100-export"]


def test_a_trial_without_a_mesh_is_its_last_test_renders(tmp_path):
    trial(tmp_path / "one", [], [2, 3])
    for place in (tmp_path / "one", tmp_path / "one" / "save", tmp_path):
        (asset,) = find_assets(place).assets
        assert asset.path.name == "it3-test" and list(asset.views) == ["0", "9", "10"]


def test_of_a_long_turntable_a_few_frames_are_looked_at(tmp_path):
    for number in range(120):
        Image.new("RGB", (2, 2)).save(ensured(tmp_path / "save" / "it9-test") / f"{number}.png")
    views = [int(name) for name in find_assets(tmp_path).assets[0].views]
    assert len(views) == 16 and views[0] == 0 and {b - a for a, b in zip(views, views[1:], strict=False)} == {7, 8}


def test_one_damaged_file_or_set_leaves_the_others_scored_and_is_told(tmp_path, monkeypatch):
    for name in ("good", "bad", "worse"):
        (tmp_path / name).mkdir()
    for index, color in enumerate(COLORS[:3]):
        colored(trimesh.creation.box((1, 1 + index, 1)), color).export(tmp_path / "good" / f"{index}.glb")
        (tmp_path / "bad" / f"{index}.glb").write_bytes(b"glTF")
    (tmp_path / "good" / "x.glb").write_bytes(b"glTF")
    monkeypatch.setattr("dreamdist3d.eval.load.read_file", lambda path: burst(path))
    report = evaluate(
        [tmp_path / "good", tmp_path / "bad"], None, tmp_path / "out", encoders=[ColorJudge()], image_size=16
    )
    (entry,) = report["sets"]
    assert len(entry["assets"]) == 3 and [one["is_damaged"] for one in entry["skipped"]] == [True]
    assert [one["file"] for one in report["left_out"]] == [str(tmp_path / "bad")]
    assert "Left out" in (tmp_path / "out" / "report.html").read_text()
    with pytest.raises(UserError, match=r"scored without what cannot be read: .*x\.glb .*, and 1 more"):
        require_undamaged(report)
    with pytest.raises(UserError, match="none of the 3 assets"):
        evaluate([tmp_path / "bad"], None, tmp_path / "out", encoders=[ColorJudge()], image_size=16)


def test_what_was_not_followed_and_what_was_skipped_are_in_the_report_and_on_the_terminal(tmp_path):
    material = textured() | {"name": "Skin", "normalTexture": {"index": 0}}
    (tmp_path / "set").mkdir()
    gltf(tmp_path / "set" / "a.glb", cube(), material, png(quarters()))
    gltf(tmp_path / "set" / "b.glb", cube(), {})
    (tmp_path / "set" / "c.fbx").write_bytes(b"x")
    report = evaluate([tmp_path / "set"], None, tmp_path / "out", encoders=[ColorJudge()], image_size=16)
    line = "material Skin: its normal map is not kept; ours is baked from the shape."
    assert [asset["not_followed"] for asset in report["sets"][0]["assets"]] == [[line], []]
    assert left_out_lines(report) == [
        f"skipped {tmp_path / 'set' / 'c.fbx'}: not read: save it as GLB",
        f"not followed: {tmp_path / 'set' / 'a.glb'}: {line}",
    ]
    assert line in (tmp_path / "out" / "report.html").read_text()


def burst(path):
    """Reads a sound file, and fails on another as no caller foresees."""
    if path.stat().st_size < 10:
        raise IndexError("index 1291845632 is out of bounds")
    return read_file(path)
