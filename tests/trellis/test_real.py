"""The real TRELLIS, unmodified, on a CPU: its own networks (tiny, random), samplers and mesh decoder under our draws.

TRELLIS_HOME=/path/to/TRELLIS python -m pytest tests/trellis
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from transformers import CLIPTextConfig, CLIPTextModel

from dreamdist3d.backbones import TextSide
from dreamdist3d.mesh.read import read_mesh
from dreamdist3d.prompts import PromptDistribution
from dreamdist3d.runs.manifest import Manifest
from tests.prompts.tiny import WIDTH, tiny_tokenizer

HOME = os.environ.get("TRELLIS_HOME")
HERE = Path(__file__).parent
pytestmark = pytest.mark.skipif(not HOME, reason="TRELLIS_HOME does not name a checkout of TRELLIS")


def driven(*arguments: object) -> str:
    environment = os.environ | {"PYTHONPATH": f"{HERE / 'standins'}:{HERE.parents[1]}", "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-W", "ignore", str(HERE / "real.py"), *map(str, arguments)]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=500, cwd=HERE.parents[1])
    assert result.returncode == 0, (result.stdout + result.stderr)[-4000:]
    return result.stdout


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """CLIP's text side with 77 positions and 16 channels, in the layout of openai/clip-vit-large-patch14."""
    folder = tmp_path_factory.mktemp("clip")
    tokenizer = tiny_tokenizer(folder)
    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=WIDTH,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=77,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    with torch.random.fork_rng():
        torch.manual_seed(3)
        CLIPTextModel(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def model(text: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trellis") / "model"
    driven("make", folder, text)
    return folder


@pytest.fixture(scope="module")
def learned(text: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A distribution of that text encoder."""
    from transformers import CLIPTokenizer

    path = tmp_path_factory.mktemp("learned") / "cats.safetensors"
    side = TextSide(CLIPTokenizer.from_pretrained(text), CLIPTextModel.from_pretrained(text))
    tokens = torch.randn(3, 2, WIDTH, generator=torch.Generator().manual_seed(1))
    PromptDistribution(tokens, "low_rank", side.fingerprint, metadata={"backbone": "sd15"}).save(path)
    return path


def test_our_way_through_its_pipeline_is_its_own(model: Path) -> None:
    """The same words and seed: its `run` and ours give the same mesh to the last bit."""
    (line,) = [line for line in driven("same", model).splitlines() if line.startswith("FOUND ")]
    found = json.loads(line.removeprefix("FOUND "))
    assert found["count"] > 100 and found["faces"] and found["vertices"] == 0
    assert found["condition"] < 1e-6 and found["colors"] <= 0.51


def test_a_run_from_a_draw_to_a_game_asset(model: Path, learned: Path, tmp_path: Path) -> None:
    words = ["launch", "--config", "dreamdist3d/trellis.yaml", "--engine", "trellis", f"system.trellis.model={model}"]
    words += [f"system.prompt_processor.distribution={learned}", "system.device=cpu", f"exp_root_dir={tmp_path}"]
    small = [
        "export.preset=web",
        "export.lods=1",
        "export.hulls=0",
        "export.texture_size=256",
        "export.max_triangles=500",
    ]
    for tag, seed in (("one", 7), ("two", 8), ("again", 7)):
        package = small if tag == "one" else []
        driven("dreamdist3d", *words, *package, f"tag={tag}", f"system.prompt_processor.draw_seed={seed}")
    runs = {tag: tmp_path / "trellis" / tag for tag in ("one", "two", "again")}
    records = {tag: Manifest.load(folder / "run.json") for tag, folder in runs.items()}
    assert all(record.state == "done" for record in records.values())
    assert records["one"].distribution["learned_with"] == "sd15"
    assert len(read_mesh(runs["two"] / "export" / "model.glb").faces) > 100
    kept = [(folder / "ckpts" / "last.ckpt").read_bytes() for folder in runs.values()]
    assert kept[0] == kept[2] != kept[1]
    asset = json.loads((runs["one"] / "export" / "web" / "asset.json").read_text())
    parts = [terms["part"] for terms in asset["licences"]]
    assert parts[0] == f"weights {model}" and "weights sd15" in parts and asset["levels"][0]["triangles"] <= 500
