import numpy as np
import pytest
import trimesh
from PIL import Image

from dreamdist3d.errors import UserError
from dreamdist3d.eval import evaluate
from dreamdist3d.eval.assets import find_assets
from dreamdist3d.eval.load import load_set, open_picture
from tests.eval.test_evaluate import COLORS, ColorJudge
from tests.eval.tiny import colored


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
