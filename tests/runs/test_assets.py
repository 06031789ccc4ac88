"""Runs and files to game assets, several at once."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from dreamdist3d.backbones.licences import licence_note
from dreamdist3d.config import load_config
from dreamdist3d.errors import Stopped, UserError
from dreamdist3d.mesh import MeshSettings
from dreamdist3d.mesh.package import PackageSettings, pictures
from dreamdist3d.mesh.texture import TextureSettings
from dreamdist3d.prompts import PromptDistribution
from dreamdist3d.runs import assets as assets_module
from dreamdist3d.runs.assets import export_again_each, export_assets, folder_names, sources_of
from dreamdist3d.runs.one import run_once
from dreamdist3d.runs.run import mesh_settings, package_settings
from dreamdist3d.runs.trial import Trial

ROOT = Path(__file__).parents[2]
SMALL = PackageSettings("unreal", triangles=200, lods=2, hulls=1, texture=TextureSettings(size=64, padding=1))


@pytest.fixture(scope="module", autouse=True)
def quick() -> Iterator[None]:
    """In the checkout, with pictures of a few pixels."""
    from dreamdist3d.lift import outputs

    small = {"STILL_SIZE": 16, "TURNTABLE_SIZE": 8, "TURNTABLE_FRAMES": 2, "SILHOUETTE_SIZE": 16, "SAMPLES": 16}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        for name, value in small.items():
            patch.setattr(outputs, f"_{name}", value)
        for name, value in {"PREVIEW_SIZE": 32, "TURNTABLE_SIZE": 16, "FRAMES": 2}.items():
            patch.setattr(pictures, f"_{name}", value)
        yield


@pytest.fixture(scope="module")
def run(quick: None, tiny_run: list[str], tiny_distribution: Path, tmp_path_factory: pytest.TempPathFactory) -> Trial:
    """A finished run whose configuration asked for a package."""
    wanted = ["preset=godot", "height_m=0.3", "texture_size=64", "lods=2", "hulls=1", "max_triangles=200"]
    overrides = [
        *tiny_run,
        f"exp_root_dir={tmp_path_factory.mktemp('runs')}",
        f"system.prompt_processor.distribution={tiny_distribution}",
        *(f"export.{key}" for key in wanted),
    ]
    return run_once(load_config("dreamdist3d/mini.yaml", overrides))


def test_a_preset_in_the_configuration_ends_the_run_with_a_package(run: Trial, tiny_distribution: Path):
    folder = run.folder / "export" / "godot"
    record = json.loads((folder / "asset.json").read_text())
    assert record["height_m"] == pytest.approx(0.3) and record["texture"]["size"] == 64
    assert [level["name"] for level in record["levels"]] == [run.folder.name, f"{run.folder.name}_LOD1"]
    assert (folder / f"{run.folder.name}.glb").is_file() and run.mesh.is_file()
    source, manifest = record["source"], run.manifest()
    assert source["kind"] == "run" and source["draw"] == manifest.draw and source["path"] == str(run.folder)
    assert source["distribution"]["sha256"] == PromptDistribution.load(tiny_distribution).content_hash
    assert source["backbone"]["sha256"] == manifest.backbone["sha256"] and "licence" in source["backbone"]
    lifted = {"part": f"weights {manifest.backbone['name']}", "licence": "not known to dreamdist3d", "limit": "unknown"}
    assert record["licences"][0] == lifted | {"role": "lifted the asset"}


def test_one_that_fails_leaves_the_others_alone(run: Trial, tmp_path: Path):
    empty = tmp_path / "empty"
    empty.mkdir()
    (tmp_path / "broken.glb").write_text("no mesh")
    sources = [empty, run.folder, tmp_path / "broken.glb", run.mesh, tmp_path / "gone.glb"]
    assets, failed = export_assets(sources, tmp_path / "assets", SMALL)
    assert [asset.folder.name for asset in assets] == [run.folder.name, "model"]
    assert [path.name for path, _ in failed] == ["empty", "broken.glb", "gone.glb"]
    messages = [reason for _, reason in failed]
    assert "there is no run.json" in messages[0] and "cannot be read" in messages[1] and "not exist" in messages[2]
    kinds = [json.loads((asset.folder / "asset.json").read_text())["source"]["kind"] for asset in assets]
    assert kinds == ["run", "file"]


def test_a_folder_of_meshes_is_its_meshes(tmp_path: Path):
    for name in ("b.GLB", "a.obj", "._a.obj", "a.mtl"):
        (tmp_path / name).touch()
    assert sources_of([tmp_path]) == ([tmp_path / "a.obj", tmp_path / "b.GLB"], [])


def test_no_two_assets_share_a_folder(tmp_path: Path):
    paths = [tmp_path / name / "Cap" for name in "ab"] + [tmp_path / "c" / "cap", tmp_path / "d" / "cap-2"]
    for path in paths:
        path.mkdir(parents=True)
    names = folder_names([*paths, Path("/elsewhere/../cap.glb/..")])
    assert names[:3] == ["Cap", "Cap-2", "cap-3"] and len({name.lower() for name in names}) == 5
    assert not any("/" in name or name in {".", ".."} for name in names)


def test_a_run_that_was_not_lifted_yet_is_one_line(run: Trial, tmp_path: Path):
    (tmp_path / "run.json").write_text(run.manifest_path.read_text())
    _, ((_, error),) = export_assets([tmp_path], tmp_path / "assets", SMALL)
    assert "has no trained field yet" in error


def test_the_export_section_is_the_settings_of_both():
    config = load_config(
        str(ROOT / "configs/dreamdist3d/mini.yaml"),
        ["export.preset=unity", "export.formats=[glb,ply]", "export.max_triangles=5000", "export.taubin_iterations=3"],
    )
    package, mesh = package_settings(config.export), mesh_settings(config.export)
    assert (package.preset, package.formats, package.triangles) == ("unity", ("glb", "ply"), 5000)
    assert isinstance(mesh, MeshSettings) and (mesh.max_triangles, mesh.taubin_iterations) == (5000, 3)
    assert package_settings(load_config(str(ROOT / "configs/dreamdist3d/mini.yaml"), []).export) is None


@pytest.mark.parametrize("bad", ["export.texture_size=100", "export.height_m=-1", "export.lods=0"])
def test_a_bad_value_shows_before_the_lift(bad: str, tmp_path: Path):
    overrides = ["system.prompt_processor.prompt=x", f"exp_root_dir={tmp_path}", "export.preset=web", bad]
    with pytest.raises(UserError, match="does not work"):
        run_once(load_config(str(ROOT / "configs/dreamdist3d/mini.yaml"), overrides))
    assert not list(tmp_path.iterdir())


def test_licences_are_those_of_the_weights():
    assert licence_note("mini", "package") == "Apache-2.0"
    assert licence_note("sd21", "repo@1").startswith("CreativeML OpenRAIL++-M: ") and "repo@1" in licence_note(
        "sd21", "repo@1"
    )
    assert "/my/weights" in licence_note("/my/weights", "/my/weights")


def test_whatever_a_file_raises_the_others_are_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def export(source: str, folder: Path, settings: object, begins: object) -> str:
        if source == "b":
            raise IndexError("index 1291845632 is out of bounds")
        if source == "d":
            raise MemoryError
        return source

    monkeypatch.setattr(assets_module, "_source", lambda path, of: path.stem)
    monkeypatch.setattr(assets_module, "export_asset", export)
    made, failed = export_assets([tmp_path / f"{name}.glb" for name in "abcde"], tmp_path / "out", SMALL)
    assert made == ["a", "c", "e"] and [path.stem for path, _ in failed] == ["b", "d"]
    assert "IndexError: index 1291845632" in failed[0][1] and "memory" in failed[1][1]


def test_a_stop_ends_the_whole_export(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(path: Path, of: object) -> None:
        raise Stopped("stopped")

    monkeypatch.setattr(assets_module, "_source", stopped)
    with pytest.raises(Stopped):
        export_assets([tmp_path / "a.glb"], tmp_path / "out", SMALL)


def test_a_batch_and_all_that_lies_in_it_are_its_runs(tmp_path: Path) -> None:
    batch = tmp_path / "cats"
    for name in ("000-a", "001-b", "logs", "report"):
        (batch / name).mkdir(parents=True)
    for name in ("batch.json", "manifest.csv", "000-a/run.json", "001-b/run.json"):
        (batch / name).touch()
    runs = [batch / "000-a", batch / "001-b"]
    assert sources_of([batch]) == sources_of(sorted(batch.iterdir())) == (runs, [])
    assert sources_of([batch / "logs"]) == ([], [])
    elsewhere = tmp_path / "x.glb"
    assert sources_of([elsewhere, batch / "001-b"]) == ([elsewhere, runs[1]], [])


def test_runs_are_exported_again_each_alone(run: Trial, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    meshes, failed = export_again_each([empty, run.folder])
    assert meshes == [run.mesh] and [path for path, _ in failed] == [empty] and "no run.json" in failed[0][1]
