"""The architectures that speed is measured on are the published ones."""

import json
import runpy
import sys
from pathlib import Path

import pytest
import torch

from tests.forked import Forked

ROOT = Path(__file__).parents[2]


@pytest.fixture
def random_model(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import random_model

    return random_model


@pytest.mark.parametrize("size", ["sd21", "mvdream"])
def test_the_parameter_counts_are_the_published_ones(random_model, size):
    built = random_model.architecture(size).items()
    counts = {name: random_model.parameters(random_model.on_meta(build)) for name, build in built}
    assert counts == random_model.PUBLISHED[size]


def test_every_text_is_spelt_in_bytes_between_clips_marks(random_model):
    tokenizer = random_model.byte_tokenizer(random_model.VOCABULARY)
    ids = tokenizer("añ").input_ids
    assert len(tokenizer) == 49408 and (ids[0], ids[-1]) == (49406, 49407) and len(ids) == 2 + 3
    assert max(ids[1:-1]) < 512


@pytest.mark.slow
def test_the_step_on_a_random_model_has_the_published_ones_gradient(tmp_path):
    from tests.prompts.tiny import write_pictures

    write_pictures(tmp_path / "pictures", 3)
    run(tmp_path, "random_model.py", "--out", tmp_path / "small", "--half")
    few = {"--steps": 2, "--k": 3, "--m": 2, "--s": 2, "--batch": 2, "--size": 64, "--threads": 1}
    paths = ("--model", tmp_path / "small", "--images", tmp_path / "pictures")
    result = run(tmp_path, "learn_step.py", *paths, *(word for pair in few.items() for word in pair), "--reference")
    assert 0 < result["max_gradient_difference"] < 1e-5
    assert result["ratio"] == pytest.approx(result["reference_median_s_per_step"] / result["median_s_per_step"])
    parts = result["breakdown_median_s"]
    assert set(parts) == {"data", "text", "unet", "backward", "optimizer"} and min(parts.values()) > 0
    if not torch.cuda.is_available():
        assert result["peak_gpu_mb"] is None


def run(folder, name, *arguments):
    """The last line that a benchmark prints."""

    def work():
        sys.argv, sys.path[:0] = [name, *map(str, arguments)], [str(ROOT / "benchmarks")]
        runpy.run_path(str(ROOT / "benchmarks" / name), run_name="__main__")

    done = Forked(work, folder / f"{name}.out", folder / f"{name}.err")
    out, err = done.communicate(timeout=300)
    assert done.returncode == 0, err
    return json.loads(out.splitlines()[-1])
