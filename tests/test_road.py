"""The whole road on the shipped backbone, in processes of their own with hardly any steps."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from dreamdist3d.cli import launch_main, main
from tests.forked import Forked

ROOT = Path(__file__).parents[1]
QUICK = [
    "trainer.max_steps=12",
    "system.lift.views.steps=12",
    "system.lift.views.rays=512",
    "system.lift.views.sampling_steps=6",
    "system.lift.views.rounds=1",
    "trainer.checkpoint_every=5",
    "data.resolution=[16,16]",
    "system.renderer.num_samples_per_ray=[16,16]",
    "export.resolution=32",
]


def call(folder: Path, command: Callable[[list[str]], int], *arguments: object) -> str:
    """What the command prints; it must do its work."""
    done = Forked(lambda: command([*map(str, arguments)]), folder / "out", folder / "err")
    out, err = done.communicate(timeout=300)
    assert done.returncode == 0, err[-2000:]
    (folder / "out").unlink()
    return out


@pytest.mark.slow
@pytest.mark.usefixtures("small_pictures")
def test_from_references_to_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    references, distribution = tmp_path / "references", tmp_path / "mushroom.safetensors"
    cli = partial(call, tmp_path, main)
    cli("mini", "references", references, "--count", 4)
    cli("learn", references, "--out", distribution, "--steps", 3, "--prompts", 4, "--batch", 2)
    overrides = [f"exp_root_dir={tmp_path}", f"system.prompt_processor.distribution={distribution}", *QUICK]
    launch = partial(call, tmp_path, launch_main, "--config", "dreamdist3d/mini.yaml", *overrides)
    folders = [Path(launch(*lift).strip()) for lift in ([], ["system.lift.kind=views"])]
    assert folders[0] != folders[1]  # two plain runs are two draws
    for folder in folders:
        assert (folder / "export" / "model.glb").stat().st_size > 1000
        assert (folder / "ckpts" / "last.ckpt").exists()
        assert {p.name for p in (folder / "save").iterdir()} >= {"front.png", "back.png", "turntable.webp"}
        assert list((folder / "tb_logs").iterdir())
    assert (folders[1] / "save" / "sample_back.png").exists()
    cli("evaluate", tmp_path / "mini", "--references", references, "--out", tmp_path / "report")
    report = json.loads((tmp_path / "report" / "report.json").read_text())
    (found,) = report["sets"]
    assert len(found["assets"]) == 2 and set(found["encoders"]) == {"mini-DINO", "mini-CLIP"}
    for scores in found["encoders"].values():
        assert scores["matched"] < 1 - 1e-6  # two draws
    assert "<img" in (tmp_path / "report" / "report.html").read_text()
