"""The distribution's file, its errors, and its moments under other words."""

import pickle
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import save_file

from dreamdist3d.errors import UserError
from dreamdist3d.prompts import PromptDistribution, SoftPromptEncoder
from dreamdist3d.prompts.distribution import FORMAT
from dreamdist3d.prompts.looks.inspection import inspect
from tests.prompts.tiny import WIDTH, tiny_text_encoder, tiny_tokenizer

METADATA = {"format": FORMAT, "covariance": "low_rank", "encoder_fingerprint": "ab", "prefix": "", "suffix": ""}


def a_distribution(**changes):
    tokens = torch.randn(4, 2, WIDTH, generator=torch.Generator().manual_seed(0))
    values = {"tokens": tokens, "covariance": "low_rank", "encoder_fingerprint": "ab" * 32, "prefix": "a photo of"}
    return PromptDistribution(**values | changes)


@pytest.fixture
def encoder(tmp_path):
    tokenizer = tiny_tokenizer(tmp_path / "tokenizer")
    return SoftPromptEncoder(tokenizer, tiny_text_encoder(tokenizer))


@pytest.fixture
def good(tmp_path):
    path = tmp_path / "good.safetensors"
    a_distribution().save(path)
    return path


def test_a_file_gives_back_everything(tmp_path):
    path = tmp_path / "new folder" / "d.safetensors"
    made = a_distribution(covariance="diagonal", suffix="at night — ünïcode", metadata={"steps": "250"}, limit=0.75)
    made.save(path)
    read = PromptDistribution.load(path)
    assert torch.equal(read.tokens, made.tokens)
    for name in ("covariance", "encoder_fingerprint", "prefix", "suffix", "metadata", "limit", "content_hash"):
        assert getattr(read, name) == getattr(made, name)
    assert [p.name for p in path.parent.iterdir()] == ["d.safetensors"]


def test_equal_distributions_make_equal_files(tmp_path):
    metadata = {f"key{i}": str(i) for i in range(12)}
    blobs = set()
    for index in range(5):
        a_distribution(metadata=metadata).save(tmp_path / f"{index}.safetensors")
        blobs.add((tmp_path / f"{index}.safetensors").read_bytes())
    assert len(blobs) == 1


def test_half_precision_files_are_read_as_float32(tmp_path):
    save_file({"tokens": torch.ones(2, 1, WIDTH).half()}, tmp_path / "h.safetensors", METADATA)
    assert PromptDistribution.load(tmp_path / "h.safetensors").tokens.dtype == torch.float32


def test_the_content_hash_tells_all_that_decides_a_draw():
    whole = a_distribution(metadata={"steps": "1"})
    assert whole.content_hash == a_distribution(metadata={"steps": "2"}).content_hash
    changed = [
        a_distribution(tokens=whole.tokens + 1e-6),
        a_distribution(tokens=whole.tokens.view(2, 4, WIDTH)),
        a_distribution(covariance="diagonal"),
        a_distribution(encoder_fingerprint="cd"),
        a_distribution(prefix="a photo"),
        a_distribution(suffix="a photo of", prefix=""),
        a_distribution(limit=1.0),
        a_distribution(limit=2.0),
    ]
    assert len({whole.content_hash, *(d.content_hash for d in changed)}) == 1 + len(changed)


def test_a_file_from_before_there_was_a_limit_draws_as_it_did(tmp_path, encoder):
    tokens, old = a_distribution().tokens, tmp_path / "old.safetensors"
    save_file({"tokens": tokens}, old, METADATA)
    read = PromptDistribution.load(old)
    hidden = encoder.encode(tokens, read.prefix, read.suffix).hidden
    omega = read.draw(3).omega(read.moments(encoder))
    expected = hidden.mean(0) + torch.einsum("k,kld->ld", omega, hidden - hidden.mean(0)) / 3**0.5
    assert read.limit is None
    torch.testing.assert_close(read.embed(read.draw(3), encoder), expected)


@pytest.mark.parametrize("limit", [0.0, -1.0, float("nan"), float("inf")])
def test_odd_limits_are_refused(limit):
    with pytest.raises(UserError, match="limit"):
        a_distribution(limit=limit)


def test_moments_use_the_stored_words_unless_told_otherwise(encoder):
    distribution = a_distribution(suffix="at night")
    hidden = encoder.encode(distribution.tokens, "a photo of", "at night").hidden
    made = distribution.moments(encoder)
    torch.testing.assert_close(made.mu, hidden.mean(0))
    torch.testing.assert_close(made.directions, (hidden - hidden.mean(0)) / 3**0.5)
    edited = distribution.moments(encoder, prefix="", suffix="")
    torch.testing.assert_close(edited.mu, encoder.encode(distribution.tokens).hidden.mean(0))
    assert edited.covariance == "low_rank" and not edited.mu.requires_grad
    assert (made.end, edited.end) == (1 + 3 + 2 + 2, 1 + 2)


def test_view_suffixes_change_the_moments_and_not_omega(encoder):
    distribution = a_distribution()
    draw = distribution.draw(seed=8, gamma=1.5)
    front, back = (distribution.moments(encoder, suffix=s) for s in ("front view", "at night"))
    assert not torch.equal(front.mu, back.mu) and not torch.equal(front.sigma, back.sigma)
    assert torch.equal(draw.omega(front), draw.omega(back))
    for moments in (front, back):
        offset = torch.einsum("k,kld->ld", draw.omega(moments), moments.directions)
        torch.testing.assert_close(draw.embed(moments), moments.mu + 1.5 * offset)


def test_a_draw_carries_its_words_to_the_encoder(encoder):
    distribution = a_distribution()
    draw = distribution.draw(seed=8, gamma=1.5, suffix="at night")
    assert torch.equal(distribution.embed(draw, encoder), draw.embed(distribution.moments(encoder, suffix="at night")))
    front = distribution.embed(draw.under(suffix="front view"), encoder)
    assert torch.equal(front, distribution.draw(8, 1.5).embed(distribution.moments(encoder, suffix="front view")))


def test_the_order_of_the_prompts_changes_nothing_but_who_is_who(encoder):
    order = torch.tensor([2, 0, 3, 1])
    one, other = a_distribution(), a_distribution(tokens=a_distribution().tokens[order])
    for kind in ("low_rank", "diagonal"):
        made, permuted = (replace(d, covariance=kind).moments(encoder) for d in (one, other))
        torch.testing.assert_close(made.mu, permuted.mu, atol=1e-6, rtol=0)
        torch.testing.assert_close(made.sigma, permuted.sigma, atol=1e-6, rtol=0)
    made, permuted = one.moments(encoder), other.moments(encoder)
    omega = torch.randn(4, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(made.embed(omega), permuted.embed(omega[order]), atol=1e-6, rtol=0)


def test_too_many_words_are_refused_with_the_count(encoder):
    distribution = a_distribution()
    with pytest.raises(UserError, match="2 tokens too long for the text encoder's 16"):
        distribution.embed(distribution.draw(0, suffix=" ".join(["night"] * 11)), encoder)


def test_another_encoder_is_refused_by_fingerprint_and_by_width(tmp_path):
    distribution = a_distribution(metadata={"backbone": "sd21"})
    with pytest.raises(UserError, match="another text encoder .*sd21"):
        distribution.check_encoder(SimpleNamespace(fingerprint="fp16-" + "cd" * 32, earlier_fingerprint="cd" * 32))
    tokenizer = tiny_tokenizer(tmp_path)
    wider = SoftPromptEncoder(tokenizer, tiny_text_encoder(tokenizer, width=WIDTH * 2))
    with pytest.raises(UserError, match=f"takes .*{WIDTH * 2}"):
        distribution.moments(wider)


@pytest.mark.parametrize(
    "tensors,metadata,message",
    [
        ({"embeddings": torch.zeros(2, 1, 4)}, METADATA, "'embeddings', not 'tokens'"),
        ({"tokens": torch.zeros(2, 1, 4), "b": torch.zeros(1)}, METADATA, "'b', 'tokens', not 'tokens'"),
        ({"tokens": torch.zeros(2, 4)}, METADATA, r"shape \[2, 4\]"),
        ({"tokens": torch.zeros(2, 0, 4)}, METADATA, r"shape \[2, 0, 4\]"),
        ({"tokens": torch.full((2, 1, 4), float("nan"))}, METADATA, "not finite"),
        ({"tokens": torch.full((2, 1, 4), float("inf"))}, METADATA, "not finite"),
        ({"tokens": torch.zeros(1025, 1, 1)}, METADATA, "1,025 prompts are too many"),
        ({"tokens": torch.zeros(2, 2**13, 2**13, dtype=torch.int8)}, METADATA, "holds 134,217,728 numbers, more than"),
        ({"tokens": torch.zeros(2, 1, 4)}, METADATA | {"covariance": "full"}, "'full' is unknown"),
        (
            {"tokens": torch.zeros(2, 1, 4)},
            METADATA | {"format": "other-9"},
            "does not say it is a dreamdist3d distribution",
        ),
        ({"tokens": torch.zeros(2, 1, 4)}, None, "does not say it is a dreamdist3d distribution"),
        ({"tokens": torch.zeros(2, 1, 4)}, METADATA | {"format": "dreamdist3d-distribution-9"}, FORMAT),
        ({"tokens": torch.zeros(2, 1, 4)}, {"format": FORMAT, "covariance": "low_rank"}, "encoder_fingerprint"),
    ],
)
def test_a_file_with_the_wrong_content_is_one_line(tmp_path, tensors, metadata, message):
    path = tmp_path / "wrong.safetensors"
    save_file(tensors, path, metadata)
    assert_refused(path, message)


def assert_refused(path, message):
    with pytest.raises(UserError, match=message) as caught:
        PromptDistribution.load(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_a_missing_file_and_a_folder_are_named(tmp_path):
    assert_refused(tmp_path / "none.safetensors", "does not exist")
    assert_refused(tmp_path, "is a folder")


@pytest.mark.parametrize("keep", [0, 3, 8, 60, -40, -1])
def test_a_file_cut_anywhere_is_truncated(good, keep):
    good.write_bytes(good.read_bytes()[:keep])
    assert_refused(good, "truncated")


def test_text_in_place_of_the_file_is_refused(good):
    good.write_text("<html>Not found</html> " * 20)
    assert_refused(good, "safetensors file")


class Bomb:
    """Unpickling it raises, so a test that passes never unpickled it."""

    def __reduce__(self):
        return (exec, ("raise SystemExit('unpickled')",))


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_a_pickle_is_refused_and_not_run(good, protocol):
    good.write_bytes(pickle.dumps({"tokens": Bomb()}, protocol))
    assert_refused(good, "looks like a pickle")


@pytest.mark.parametrize("zipped", [True, False])
def test_a_torch_file_is_refused(good, zipped):
    torch.save({"tokens": torch.zeros(2, 1, 4)}, good, _use_new_zipfile_serialization=zipped)
    assert_refused(good, "looks like a pickle")


def test_a_file_whose_length_starts_like_a_pickle_is_read(good):
    # The header's length is the file's first byte: 0x80 is as good as any.
    for filler in range(1, 400):
        a_distribution(metadata={"note": "x" * filler}).save(good)
        if good.read_bytes()[0] == 0x80:
            break
    assert good.read_bytes()[0] == 0x80
    assert torch.equal(PromptDistribution.load(good).tokens, a_distribution().tokens)


def test_saving_under_a_file_is_one_line(good):
    with pytest.raises(UserError, match="cannot write"):
        a_distribution().save(good / "d.safetensors")


def test_tokens_too_large_for_the_text_encoder_are_refused(encoder):
    """Finite themselves, they overflow inside it."""
    distribution = a_distribution(tokens=torch.full((2, 2, WIDTH), 3e38))
    for use in (
        lambda: distribution.embed(distribution.draw(0), encoder),
        lambda: distribution.moments(encoder),
        lambda: inspect(distribution, encoder),
    ):
        with pytest.raises(UserError, match="too large: the text encoder's answer is not finite"):
            use()
