"""Assistants on disk: the packaged layout, a language model of somebody else, and everything that can be wrong."""

import json

import pytest
import torch
from safetensors.torch import save_file

from dreamdist3d.assistant.inputs import ClipInputs, mini_inputs
from dreamdist3d.assistant.model import AssistantModel, build_model, prompt_of
from dreamdist3d.assistant.storage import load_assistant, load_llm, save_assistant
from dreamdist3d.assistant.tokenizer import build_tokenizer
from dreamdist3d.errors import UserError
from tests.assistant.tiny import FEATURES, WANTED, write_quadruplets, write_tiny_clip, write_tiny_llama


@pytest.fixture(scope="module")
def pictures():
    return torch.rand(2, 3, 40, 40, generator=torch.Generator().manual_seed(0))


def test_what_is_saved_is_loaded(tmp_path):
    torch.manual_seed(0)
    model = build_model(build_tokenizer(), 128, 128, width=16, layers=1).eval()
    save_assistant(model, "mini-clip", tmp_path / "full")
    save_assistant(model, "mini-clip", tmp_path / "half", half=True)
    features = torch.randn(10, 128)
    wanted = model.wanted(features, [prompt_of("make it red")], ["<see> red mug"])
    for name, close in (("full", 1e-6), ("half", 2e-2)):
        loaded = load_assistant(tmp_path / name).model
        found = loaded.wanted(features, [prompt_of("make it red")], ["<see> red mug"])
        torch.testing.assert_close(found, wanted, atol=close, rtol=0)
        assert not any(p.requires_grad for p in loaded.parameters())
    sizes = [(tmp_path / name / "llm" / "model.safetensors").stat().st_size for name in ("full", "half")]
    assert sizes[1] < 0.6 * sizes[0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_language_model_elsewhere_and_a_clip_folder(tmp_path, pictures, dtype):
    """CAFE's own arrangement: a frozen Llama, a CLIP, and only the layers between them in the file."""
    write_tiny_llama(tmp_path / "llama", dtype)
    write_tiny_clip(tmp_path / "clip")
    inputs = ClipInputs(tmp_path / "clip")
    model = AssistantModel(*load_llm(tmp_path / "llama"), inputs.width, inputs.wanted_width)
    save_assistant(model, inputs.name, tmp_path / "ours", llm=str(tmp_path / "llama"))
    assert not (tmp_path / "ours" / "llm").exists()
    stored = load_assistant(tmp_path / "ours", clip=tmp_path / "clip")
    features, wanted = stored.inputs(pictures)
    assert next(stored.model.llm.parameters()).dtype == dtype
    assert stored.model.answer(features[0], prompt_of("make it red"), most=3)
    assert features.shape == (2, 1 + 16, FEATURES) and wanted.shape == (2, WANTED)
    torch.testing.assert_close(wanted.square().mean(dim=1), torch.ones(2))
    assert stored.model.wanted(features[0], [prompt_of("make it red")], ["red"]).shape == (1, WANTED)
    with pytest.raises(UserError, match="give its folder"):
        load_assistant(tmp_path / "ours")


def test_the_packaged_encoder_pools_its_patches(pictures):
    inputs = mini_inputs()
    features, wanted = inputs(pictures)
    assert features.shape == (2, 10, inputs.width) and wanted.shape == (2, inputs.wanted_width)


def test_what_is_missing_is_told_in_one_line(tmp_path):
    for load, folder, said in (
        (load_llm, tmp_path / "nothing", "no language model in"),
        (ClipInputs, tmp_path / "nothing", "no CLIP in"),
        (load_assistant, tmp_path / "nothing", "no assistant in"),
    ):
        with pytest.raises(UserError, match=said) as caught:
            load(folder)
        assert "\n" not in str(caught.value)


def test_broken_parts_are_told(tmp_path):
    write_tiny_llama(tmp_path / "llama")
    (tmp_path / "llama" / "model.safetensors").write_bytes(b"no weights")
    with pytest.raises(UserError, match="does not load"):
        load_llm(tmp_path / "llama")
    (tmp_path / "assistant.safetensors").write_bytes(b"none")
    with pytest.raises(UserError, match="cannot be read"):
        load_assistant(tmp_path)
    save_file({"token": torch.zeros(2)}, tmp_path / "assistant.safetensors", {"format": "other"})
    with pytest.raises(UserError, match="is no assistant"):
        load_assistant(tmp_path)


@pytest.mark.parametrize("rank", [0, 2])
def test_a_full_size_assistant_learns_around_a_language_model_that_is_only_read(tmp_path, rank):
    """With a rank, factors beside the language model's layers learn too, and are kept; without, none are."""
    from dreamdist3d.assistant.full import FullRecipe, train_full
    from dreamdist3d.assistant.quadruplets import read_quadruplets

    write_tiny_llama(tmp_path / "llama")
    write_tiny_clip(tmp_path / "clip")
    before = (tmp_path / "llama" / "model.safetensors").read_bytes()
    found, _ = read_quadruplets(write_quadruplets(tmp_path))
    recipe = FullRecipe(steps=30, batch=4, lr=1e-2, lora_rank=rank)
    weights = train_full(tmp_path / "out", found, tmp_path / "llama", tmp_path / "clip", recipe)
    assert (tmp_path / "llama" / "model.safetensors").read_bytes() == before
    assert (weights / "lora").is_dir() == bool(rank) and not (weights / "llm").exists()
    lines = [json.loads(line) for line in (tmp_path / "out" / "assistant.jsonl").read_text().splitlines()]
    assert lines[-1]["words"] < lines[0]["words"]
    stored = load_assistant(weights, clip=tmp_path / "clip")
    features = stored.inputs(torch.rand(1, 3, 32, 32))[0][0]
    assert stored.model.answer(features, prompt_of("make it red"), most=2)
    factors = [value for name, value in stored.model.named_parameters() if "lora_B" in name]
    assert bool(factors) == bool(rank) and all(value.abs().sum() > 0 for value in factors)
    with pytest.raises(UserError, match="another recipe"):
        train_full(tmp_path / "out", found, tmp_path / "llama", tmp_path / "clip", FullRecipe(steps=2, batch=4))


def test_the_command_needs_all_three(tmp_path, capsys):
    from dreamdist3d.cli import main

    assert main(["assistant", "train", "--out", str(tmp_path / "out"), "--llm", str(tmp_path)]) == 2
    assert "give all three" in capsys.readouterr().err
