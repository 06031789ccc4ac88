"""The whole road on the shipped backbone, in real processes with hardly any steps."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
QUICK = [
    "trainer.max_steps=12",
    "trainer.checkpoint_every=5",
    "data.resolution=[16,16]",
    "system.renderer.num_samples_per_ray=[16,16]",
    "export.resolution=32",
]


def call(*command: object) -> str:
    done = subprocess.run([sys.executable, *map(str, command)], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.mark.slow
def test_from_references_to_report(tmp_path: Path) -> None:
    references, distribution = tmp_path / "references", tmp_path / "mushroom.safetensors"
    cli = ("-m", "dreamdist3d")
    call(*cli, "mini", "references", references, "--count", 4)
    call(*cli, "learn", references, "--out", distribution, "--steps", 3, "--prompts", 4, "--batch", 2)
    overrides = [f"exp_root_dir={tmp_path}", f"system.prompt_processor.distribution={distribution}", *QUICK]
    folders = [Path(call("launch.py", "--config", "dreamdist3d/mini.yaml", *overrides).strip()) for _ in range(2)]
    assert folders[0] != folders[1]  # two plain runs are two draws
    for folder in folders:
        assert (folder / "export" / "model.glb").stat().st_size > 1000
        assert (folder / "ckpts" / "last.ckpt").exists()
        assert {p.name for p in (folder / "save").iterdir()} >= {"front.png", "back.png", "turntable.webp"}
        assert list((folder / "tb_logs").iterdir())
    call(*cli, "evaluate", tmp_path / "mini", "--references", references, "--out", tmp_path / "report")
    report = json.loads((tmp_path / "report" / "report.json").read_text())
    scores = report["sets"][0]["encoders"]
    assert len(report["sets"][0]["assets"]) == 2
    assert all(-1 <= entry["matched"] <= 1 and entry["to_references"]["mean"] <= 1 for entry in scores.values())
    assert "<img" in (tmp_path / "report" / "report.html").read_text()
