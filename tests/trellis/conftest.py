"""A checkout of a minimal TRELLIS, and its weights: a text encoder of a few channels."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

MINIMAL = Path(__file__).parent / "minimal"


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """The minimal checkout, remembered nowhere; its module is forgotten afterwards."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.delenv("TRELLIS_HOME", raising=False)
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield MINIMAL
    for name in [name for name in sys.modules if name.split(".")[0] == "trellis"]:
        del sys.modules[name]


@pytest.fixture
def model(tiny_backbone: Path, tmp_path: Path) -> Path:
    """A folder with a pipeline.json."""
    return pipeline_folder(tmp_path / "model", tiny_backbone)


def pipeline_folder(folder: Path, text: Path, bias: float = 0.0) -> Path:
    folder.mkdir(exist_ok=True)
    told = {"name": "TrellisTextTo3DPipeline", "args": {"text_cond_model": str(text), "bias": bias}}
    (folder / "pipeline.json").write_text(json.dumps(told))
    return folder
