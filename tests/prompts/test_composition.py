"""Blends and mixtures: their mathematics, their files, their refusals."""

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from dreamdist3d.backbones import TextSide
from dreamdist3d.errors import UserError
from dreamdist3d.prompts import (
    FixedMoments,
    PromptComposition,
    PromptDistribution,
    SoftPromptEncoder,
    load_distribution,
    open_distributions,
)
from dreamdist3d.prompts.formats.storage import read_stored, write_stored
from tests.prompts.tiny import LENGTH, WIDTH, tiny_text_encoder, tiny_tokenizer


def learned(seed, covariance="low_rank", prompts=4, **values):
    tokens = torch.randn(prompts, 2, WIDTH, generator=torch.Generator().manual_seed(seed))
    return PromptDistribution(tokens, covariance, "ab" * 32, **values)


CATS, DOGS = learned(1, prefix="a photo of", metadata={"backbone": "mini"}), learned(2, prompts=3, suffix="at night")


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    tokenizer = tiny_tokenizer(tmp_path_factory.mktemp("tokenizer"))
    return SoftPromptEncoder(tokenizer, tiny_text_encoder(tokenizer))


@pytest.fixture
def files(tmp_path):
    paths = [tmp_path / "cats.safetensors", tmp_path / "dogs.safetensors"]
    for distribution, path in zip((CATS, DOGS), paths, strict=True):
        distribution.save(path)
    return paths


def test_a_blend_of_files_is_the_closed_form(encoder, files):
    made = PromptComposition(tuple(PromptDistribution.load(path) for path in files), (0.3, 0.7), (1.0, 2.0))
    cats, dogs = CATS.moments(encoder), DOGS.moments(encoder)
    moments = made.moments_for(made.draw(0), encoder)
    torch.testing.assert_close(moments.mu, 0.3 * cats.mu + 0.7 * dogs.mu)
    torch.testing.assert_close(moments.sigma, ((0.3 * cats.sigma) ** 2 + (0.7 * 2.0 * dogs.sigma) ** 2).sqrt())
    assert moments.omega_shape == (7,) and moments.end == max(cats.end, dogs.end)


def test_a_blend_that_is_all_one_component_is_that_component(encoder):
    made = PromptComposition((CATS, DOGS), (1.0, 0.0))
    draw = made.draw(3, gamma=1.5)
    omega = draw.omega(made.moments_for(draw, encoder))[:4]
    torch.testing.assert_close(made.embed(draw, encoder), CATS.moments(encoder).embed(omega, 1.5))


def test_a_draw_may_carry_other_weights_and_keeps_its_omega(encoder):
    made = PromptComposition((CATS, DOGS), (0.5, 0.5))
    draw = made.draw(3)
    moved = replace(draw, weights=(0.2, 0.8))
    expected = PromptComposition((CATS, DOGS), (0.2, 0.8)).embed(draw, encoder)
    torch.testing.assert_close(made.embed(moved, encoder), expected)
    assert torch.equal(*(d.omega(made.moments_for(d, encoder)) for d in (draw, moved)))


def test_a_mixture_draws_one_component_with_its_own_scale(encoder):
    made = PromptComposition((CATS, replace(DOGS, covariance="diagonal")), (0.3, 0.7), (1.0, 0.5), "mixture")
    draws = [made.draw(seed, gamma=2.0) for seed in range(2000)]
    share = np.mean([draw.component for draw in draws])
    assert abs(share - 0.7) < 4 * np.sqrt(0.3 * 0.7 / 2000)
    for component, gamma in ((0, 2.0), (1, 1.0)):
        draw = next(d for d in draws if d.component == component)
        alone = made.components[component].draw(draw.seed, gamma)
        torch.testing.assert_close(made.embed(draw, encoder), made.components[component].embed(alone, encoder))


def test_words_of_a_draw_reach_every_component(encoder):
    made = PromptComposition((CATS, DOGS))
    moments = made.moments_for(made.draw(0, prefix="a", suffix=""), encoder)
    expected = (CATS.moments(encoder, "a", "").mu + DOGS.moments(encoder, "a", "").mu) / 2
    torch.testing.assert_close(moments.mu, expected)


@pytest.mark.parametrize("kind", ["blend", "mixture"])
def test_a_file_gives_back_everything(kind, tmp_path, encoder):
    made = PromptComposition((CATS, DOGS), (1 / 3, 2 / 3), (1.0, 0.5), kind)
    for name in ("one", "two"):
        made.save(tmp_path / name)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    read = load_distribution(tmp_path / "one")
    assert isinstance(read, PromptComposition) and read.content_hash == made.content_hash
    assert (read.weights, read.gammas, read.kind) == (made.weights, made.gammas, kind)
    assert [c.metadata for c in read.components] == [CATS.metadata, DOGS.metadata]
    assert torch.equal(read.embed(read.draw(5), encoder), made.embed(made.draw(5), encoder))


def test_the_components_limits_are_kept(tmp_path, encoder):
    PromptComposition((replace(CATS, limit=0.5), DOGS), kind="mixture").save(tmp_path / "both")
    assert [c.limit for c in load_distribution(tmp_path / "both").components] == [0.5, None]


def test_components_of_different_versions_meet_at_the_text_encoder(tmp_path):
    """A file of an earlier version calls the encoder by another name."""
    tokenizer = tiny_tokenizer(tmp_path / "tokenizer")
    side = TextSide(tokenizer, tiny_text_encoder(tokenizer))
    new = replace(CATS, encoder_fingerprint=side.fingerprint)
    old = replace(DOGS, encoder_fingerprint=side.earlier_fingerprint)
    PromptComposition((new, old)).save(tmp_path / "both.safetensors")
    both = load_distribution(tmp_path / "both.safetensors")
    assert [c.encoder_fingerprint for c in both.components] == [new.encoder_fingerprint, old.encoder_fingerprint]
    both.check_encoder(side)
    with pytest.raises(UserError, match="another text encoder"):
        both.check_encoder(TextSide(tokenizer, tiny_text_encoder(tokenizer, seed=1)))
    with pytest.raises(UserError, match="another text encoder"):
        PromptComposition((new, replace(old, encoder_fingerprint="0" * 64))).check_encoder(side)


def test_a_composition_of_an_earlier_version_is_read(tmp_path):
    """Its file has the fingerprint once, for all components."""
    made = PromptComposition((CATS, DOGS))
    made.save(tmp_path / "new.safetensors")
    stored = read_stored(tmp_path / "new.safetensors")
    components = json.loads(stored.metadata["components"])
    assert [component.pop("encoder_fingerprint") for component in components] == [CATS.encoder_fingerprint] * 2
    metadata = stored.metadata | {"components": json.dumps(components)}
    write_stored(tmp_path / "old.safetensors", stored.format, stored.tensors, metadata)
    assert load_distribution(tmp_path / "old.safetensors").content_hash == made.content_hash


@pytest.mark.parametrize("change", [{"prefix": 5}, {"metadata": {"a": []}}, {"covariance": None}, {"metadata": 3}])
def test_a_component_that_is_not_described_in_text_is_one_line(tmp_path, change):
    PromptComposition((CATS, DOGS)).save(tmp_path / "good.safetensors")
    stored = read_stored(tmp_path / "good.safetensors")
    components = json.loads(stored.metadata["components"])
    for text in (json.dumps([components[0] | change, components[1]]), "[" * 100_000, "3", json.dumps(["a", "b"])):
        write_stored(tmp_path / "odd", stored.format, stored.tensors, stored.metadata | {"components": text})
        with pytest.raises(UserError, match="odd: ") as caught:
            load_distribution(tmp_path / "odd")
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["blend", "mixture"])
def test_a_component_for_a_changed_model_binds_the_composition_to_it(kind, tmp_path):
    changed = replace(DOGS, metadata={"backbone": "lora/backbone", "model_sha256": "cd" * 32})
    path = tmp_path / "both.safetensors"
    PromptComposition((CATS, changed), kind=kind).save(path)
    assert load_distribution(path).metadata == changed.metadata
    other = replace(CATS, metadata={"model_sha256": "ef" * 32})
    with pytest.raises(UserError, match="different changed models"):
        PromptComposition((other, changed), kind=kind)


def test_one_component_twice_is_saved(tmp_path):
    PromptComposition((CATS, CATS)).save(tmp_path / "twice")
    assert [c.content_hash for c in load_distribution(tmp_path / "twice").components] == [CATS.content_hash] * 2


def test_the_hash_tells_all_that_decides_a_draw():
    parts = {"components": (CATS, DOGS), "weights": (0.5, 0.5), "gammas": (1.0, 1.0), "kind": "blend"}
    changes = [{"components": (DOGS, CATS)}, {"weights": (0.4, 0.6)}, {"gammas": (1.0, 2.0)}, {"kind": "mixture"}]
    made = {PromptComposition(**parts | change).content_hash for change in [{}, *changes]}
    assert len(made) == 1 + len(changes)


@pytest.mark.parametrize("weights", [(0.7, 0.2, 0.1), (0.333, 0.333, 0.333), (1.0, 0.0, 0.0)])
def test_weights_that_sum_to_one_but_for_rounding_are_taken(weights):
    made = PromptComposition((CATS, DOGS, CATS), weights)
    assert sum(made.weights) == pytest.approx(1, abs=1e-15)
    assert PromptComposition((CATS, DOGS, CATS), made.weights).weights == made.weights


@pytest.mark.parametrize(
    "values,message",
    [
        ({"weights": (0.5, 0.6)}, "sum to 1.1"),
        ({"weights": (1.5, -0.5)}, "at least 0"),
        ({"weights": (float("nan"), 1.0)}, "sum to"),
        ({"weights": (1.0,)}, "1 weights for 2"),
        ({"weights": ()}, "0 weights for 2"),
        ({"gammas": (1.0, -1.0)}, "gammas must"),
        ({"gammas": (1.0,)}, "1 gammas for 2"),
        ({"gammas": ()}, "0 gammas for 2"),
        ({"kind": "sum"}, "'sum' is unknown"),
        ({"components": (CATS,)}, "at least two"),
        ({"components": (CATS, replace(DOGS, encoder_fingerprint="cd" * 32))}, "another text encoder"),
        ({"components": (CATS, replace(DOGS, covariance="diagonal"))}, "do not blend"),
    ],
)
def test_what_cannot_be_composed_is_one_line(values, message):
    with pytest.raises(UserError, match=message):
        PromptComposition(**{"components": (CATS, DOGS)} | values)


def test_a_draw_of_another_mixture_is_refused(encoder):
    mixture = PromptComposition((CATS, DOGS), kind="mixture")
    with pytest.raises(UserError, match="component None"):
        mixture.embed(CATS.draw(0), encoder)


def test_one_file_opens_as_it_is_and_several_as_a_composition(files, tmp_path):
    assert open_distributions(files[:1]).content_hash == CATS.content_hash
    both = open_distributions(files, (0.3, 0.7), "mixture")
    assert (both.weights, both.kind) == ((0.3, 0.7), "mixture")
    both.save(tmp_path / "both.safetensors")
    assert open_distributions([tmp_path / "both.safetensors"]).content_hash == both.content_hash
    assert open_distributions([tmp_path / "both.safetensors"], (0.6, 0.4)).weights == (0.6, 0.4)
    with pytest.raises(UserError, match="cats.safetensors is one"):
        open_distributions(files[:1], (1.0,))
    with pytest.raises(UserError, match="both.safetensors is itself composed"):
        open_distributions([files[0], tmp_path / "both.safetensors"])


def test_a_composition_read_as_a_distribution_says_what_it_is(tmp_path):
    PromptComposition((CATS, DOGS)).save(tmp_path / "both.safetensors")
    with pytest.raises(UserError, match="both.safetensors is a dreamdist3d-composition-1 file"):
        PromptDistribution.load(tmp_path / "both.safetensors")


def test_fixed_moments_are_drawn_from_and_not_edited(tmp_path, encoder):
    mu, sigma = torch.randn(LENGTH, WIDTH, generator=torch.Generator().manual_seed(0)), torch.ones(LENGTH, WIDTH)
    made = FixedMoments(mu, sigma, "ab" * 32, {"imported_from": "moments.npz"})
    made.save(tmp_path / "m.safetensors")
    read = load_distribution(tmp_path / "m.safetensors")
    assert isinstance(read, FixedMoments) and read.content_hash == made.content_hash and read.metadata == made.metadata
    draw = read.draw(5, gamma=0.5)
    torch.testing.assert_close(read.embed(draw, encoder), mu + 0.5 * draw.omega(read.moments_for(draw, encoder)))
    for words in ({"prefix": "a photo of"}, {"suffix": "at night"}):
        with pytest.raises(UserError, match="cannot edit it"):
            read.draw(5, **words)
        with pytest.raises(UserError, match="cannot edit it"):
            read.embed(draw.under(**words), encoder)


@pytest.mark.parametrize(
    "mu,sigma,message",
    [
        (torch.zeros(4), torch.zeros(4), "shape"),
        (torch.zeros(4, 2), torch.zeros(4, 3), "one shape"),
        (torch.zeros(4, 2), -torch.ones(4, 2), "no negative"),
        (torch.full((4, 2), float("nan")), torch.ones(4, 2), "not finite"),
    ],
)
def test_odd_moments_are_refused(mu, sigma, message):
    with pytest.raises(UserError, match=message):
        FixedMoments(mu, sigma, "ab")


@pytest.mark.parametrize("shape", [(LENGTH + 1, WIDTH), (LENGTH, WIDTH + 1)])
def test_moments_of_another_shape_are_refused(encoder, shape):
    made = FixedMoments(torch.zeros(shape), torch.ones(shape), "ab")
    with pytest.raises(UserError, match=f"{shape[0]} positions, {shape[1]} wide"):
        made.embed(made.draw(0), encoder)


def test_fixed_moments_are_where_the_encoder_is():
    made = FixedMoments(torch.zeros(LENGTH, WIDTH), torch.ones(LENGTH, WIDTH), "ab")
    elsewhere = SimpleNamespace(max_length=LENGTH, width=WIDTH, device=torch.device("meta"))
    moments = made.moments_for(made.draw(0), elsewhere)
    assert moments.mu.is_meta and moments.sigma.is_meta and moments.end is None
