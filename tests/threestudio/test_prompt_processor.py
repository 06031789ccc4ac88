"""What a guidance gets from the prompt processor."""

import math
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor

from dreamdist3d.backbones import load_backbone
from dreamdist3d.prompts import PromptDistribution, SoftPromptEncoder
from dreamdist3d.prompts.normal import standard_normal
from tests.prompts.tiny import LENGTH, WIDTH

DIRECTIONS = ("side", "front", "back", "overhead")
SEED = 17


@pytest.fixture
def build(studio: ModuleType, section: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A function that makes the processor; its keywords change its section."""
    monkeypatch.chdir(tmp_path)
    kind = studio.find("dreamdist3d-prompt-processor")
    return lambda **changes: kind(section | {"draw_seed": SEED} | changes)


@pytest.fixture
def encoder(tiny_backbone: Path) -> SoftPromptEncoder:
    backbone = load_backbone(str(tiny_backbone))
    return SoftPromptEncoder(backbone.tokenizer, backbone.text_encoder)


def drawn(encoder: SoftPromptEncoder, path: Path, prefix: str = "", suffix: str = "", gamma: float = 1.0) -> Tensor:
    """mu + gamma sum_k w_k (h_k - mu) / sqrt(K - 1), computed in float64."""
    tokens = PromptDistribution.load(path).tokens
    with torch.no_grad():
        hidden = encoder.encode(tokens, prefix, suffix).hidden.double()
    mean, omega = hidden.mean(0), standard_normal(SEED, (len(hidden),)).double()
    return (mean + gamma * torch.einsum("k,kld->ld", omega, hidden - mean) / math.sqrt(len(hidden) - 1)).float()


def test_shapes_kinds_and_the_condition_first(build) -> None:
    output = build(negative_prompt="red")()
    assert output.text_embeddings.shape == output.uncond_text_embeddings.shape == (1, LENGTH, WIDTH)
    assert output.text_embeddings_vd.shape == output.uncond_text_embeddings_vd.shape == (4, LENGTH, WIDTH)
    assert all(value.dtype == torch.float32 for value in vars(output).values() if isinstance(value, Tensor))
    pairs = output.get_text_embeddings(torch.tensor([0.0, 80.0]), torch.tensor([180.0, 0.0]), torch.ones(2))
    assert torch.equal(pairs[:2], output.text_embeddings_vd[[2, 3]])
    assert torch.equal(pairs[2:], output.uncond_text_embeddings_vd[[2, 3]])


@pytest.mark.parametrize("gamma", [0.0, 1.0, 2.0])
def test_all_directions_are_one_omega_under_other_words(build, encoder, tiny_distribution: Path, gamma: float) -> None:
    output = build(gamma=gamma, prefix="a")()
    torch.testing.assert_close(output.text_embeddings[0], drawn(encoder, tiny_distribution, "a", gamma=gamma))
    for index, name in enumerate(DIRECTIONS):  # Perp-Neg reads them by these numbers
        expected = drawn(encoder, tiny_distribution, "a", f", {name} view", gamma)
        torch.testing.assert_close(output.text_embeddings_vd[index], expected)


def test_directions_can_stand_in_front(build, encoder, tiny_distribution: Path) -> None:
    output = build(view_dependent_prompt_front=True, suffix="at night")()
    expected = drawn(encoder, tiny_distribution, "front view of ", "at night")
    torch.testing.assert_close(output.text_embeddings_vd[1], expected)


def test_the_negative_prompt_is_the_unconditional_side(build, encoder) -> None:
    output = build(negative_prompt="red dog")()
    expected = encoder.encode_text(["red dog"]).hidden
    torch.testing.assert_close(output.uncond_text_embeddings, expected)
    torch.testing.assert_close(output.uncond_text_embeddings_vd, expected.expand(4, -1, -1))


def test_the_cache_is_neither_read_nor_written(studio: ModuleType, build, tmp_path: Path) -> None:
    processor = build()
    assert not Path(studio.CACHE).exists()
    for prompt in (processor.prompt, *processor.prompts_vd):
        path = processor.cached(prompt)
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save(torch.full((LENGTH, WIDTH), 9.0), path)
    names = sorted(Path(studio.CACHE).iterdir())
    assert torch.equal(build().text_embeddings, processor.text_embeddings)
    assert torch.equal(build().text_embeddings_vd, processor.text_embeddings_vd)
    assert sorted(Path(studio.CACHE).iterdir()) == names


def test_the_draw_depends_on_its_seed_alone(build) -> None:
    torch.manual_seed(0)
    first = build()
    torch.manual_seed(1)  # as another rank
    state = torch.get_rng_state()
    again = build()
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(first.text_embeddings_vd, again.text_embeddings_vd)
    assert not torch.allclose(first.text_embeddings, build(draw_seed=SEED + 1).text_embeddings)


def test_several_distributions_are_weighted(build, encoder, tiny_distribution: Path, tmp_path: Path) -> None:
    other = tmp_path / "dogs.safetensors"
    known = PromptDistribution.load(tiny_distribution)
    tokens = torch.randn(3, 2, WIDTH, generator=torch.Generator().manual_seed(9))
    PromptDistribution(tokens, "low_rank", known.encoder_fingerprint).save(other)
    both = build(distribution=[str(tiny_distribution), str(other)], weights=[0.25, 0.75], gamma=0.0)
    expected = 0.25 * drawn(encoder, tiny_distribution, gamma=0) + 0.75 * drawn(encoder, other, gamma=0)
    torch.testing.assert_close(both.text_embeddings[0], expected)
    assert "cats+dogs" in both.prompt


def test_a_prompt_beside_a_distribution_is_said_to_be_unread(studio: ModuleType, build) -> None:
    studio.said.clear()
    plain, beside = build(), build(prompt="red dog")
    assert torch.equal(plain.text_embeddings, beside.text_embeddings)
    assert len(studio.said) == 1 and "prefix and suffix" in studio.said[0]


def test_without_a_distribution_it_encodes_the_text(build, encoder) -> None:
    output = build(distribution=None, prompt="red cat")()
    torch.testing.assert_close(output.text_embeddings, encoder.encode_text(["red cat"]).hidden)
    expected = encoder.encode_text([f"red cat, {name} view" for name in DIRECTIONS]).hidden
    torch.testing.assert_close(output.text_embeddings_vd, expected)


def test_it_writes_a_record_and_refuses_another_draw(build, tmp_path: Path) -> None:
    record = tmp_path / "run" / "dreamdist3d.json"
    build(record=str(record))
    written = record.read_text()
    build(record=str(record))
    for changes in ({"gamma": 2.0}, {"draw_seed": 3}, {"antithetic": True}, {"prefix": "a"}):
        with pytest.raises(SystemExit, match="another draw on record"):
            build(record=str(record), **changes)
    assert record.read_text() == written


def test_the_record_holds_a_file_by_its_content(build, tiny_distribution: Path, tmp_path: Path) -> None:
    record, moved = tmp_path / "dreamdist3d.json", tmp_path / "elsewhere.safetensors"
    build(record=str(record))
    moved.write_bytes(tiny_distribution.read_bytes())
    build(record=str(record), distribution=str(moved))
    known = PromptDistribution.load(moved)
    PromptDistribution(known.tokens + 1, "low_rank", known.encoder_fingerprint).save(moved)
    with pytest.raises(SystemExit, match="another distribution on record"):
        build(record=str(record), distribution=str(moved))


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"draw_seed": None}, "draw_seed must be a number"),
        ({"use_prompt_debiasing": True}, "use_prompt_debiasing"),
        ({"prompt_back": "a cat"}, "prompt_back is a plain text"),
    ],
)
def test_keys_that_make_no_sense_end_it_with_one_line(build, changes: dict[str, Any], part: str) -> None:
    with pytest.raises(SystemExit) as ended:
        build(**changes)
    line = str(ended.value)
    assert line.startswith("error: ") and part in line and "\n" not in line
