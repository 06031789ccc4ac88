"""Checkpoints and moments of the official code: what they look like, and the odd ones among them."""

import os
import zipfile

import numpy as np
import pytest
import torch

from dreamdist3d.errors import UserError
from dreamdist3d.prompts import PromptDistribution
from dreamdist3d.prompts.formats.official import read_official, read_official_moments, write_official
from tests.prompts.tiny import WIDTH

CTX = torch.randn(1, 3, 2, WIDTH, generator=torch.Generator().manual_seed(0))
MEANS = np.random.default_rng(0).normal(size=(1, 5, WIDTH))
STDS = np.random.default_rng(1).random(size=(1, 5, WIDTH))


class Bomb:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, trace):
        self.trace = trace

    def __reduce__(self):
        return os.mkdir, (str(self.trace),)


@pytest.fixture
def saved(tmp_path):
    def save(content, **options):
        torch.save(content, tmp_path / "final-1.pt", **options)
        return tmp_path / "final-1.pt"

    return save


@pytest.fixture
def moments(tmp_path):
    def save(**arrays):
        np.savez(tmp_path / "final-1.npz", **arrays)
        return tmp_path / "final-1.npz"

    return save


def a_whole_checkpoint(prefix=""):
    """Everything `train.py` puts in its last file, in small."""
    parameter = torch.nn.Parameter(CTX.clone())
    optimizer = torch.optim.AdamW([parameter])
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0)
    parameter.sum().backward()
    optimizer.step()
    state = {
        "ctx": CTX,
        "token_prefix": torch.zeros(1, 1, WIDTH),
        "token_suffix": torch.zeros(1, 4, WIDTH),
        "text_encoder.embeddings.token_embedding.weight": torch.ones(7, WIDTH),
        "vision_encoder.vision_model.embeddings.class_embedding": torch.zeros(4),
    }
    return {
        "epoch": 10,
        "model_state_dict": {prefix + key: value for key, value in state.items()},
        "optimizer_state_dict": optimizer.state_dict(),
        "lr_scheduler_state_dict": schedule.state_dict(),
    }


@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "_orig_mod.module.", "module._orig_mod.learner."])
def test_a_whole_checkpoint_gives_its_prompts_and_the_vocabulary_saved_along(saved, prefix):
    read = read_official(saved(a_whole_checkpoint(prefix)))
    assert torch.equal(read.tokens, CTX[0]) and torch.equal(read.vocabulary, torch.ones(7, WIDTH))
    assert (read.prefix, read.suffix) == ("", "")


@pytest.mark.parametrize("wrapper", [None, "state_dict", "model_state_dict"])
@pytest.mark.parametrize("zipped", [True, False])
def test_wrapped_or_plain_zipped_or_legacy(saved, wrapper, zipped):
    state = {"module.ctx": CTX}
    read = read_official(saved({wrapper: state} if wrapper else state, _use_new_zipfile_serialization=zipped))
    assert torch.equal(read.tokens, CTX[0]) and read.vocabulary is None


def test_half_precision_and_parameters_become_plain_float32(saved):
    tokens = read_official(saved({"ctx": torch.nn.Parameter(CTX.half())})).tokens
    assert tokens.dtype == torch.float32 and not tokens.requires_grad
    assert torch.equal(tokens, CTX[0].half().float())


def test_the_tokens_do_not_hang_on_the_file(saved):
    path = saved({"ctx": CTX})
    tokens = read_official(path).tokens
    with path.open("r+b") as file:
        file.write(b"\xff" * path.stat().st_size)
    assert torch.equal(tokens, CTX[0])


@pytest.mark.parametrize(
    "content,message",
    [
        ({"model_state_dict": {"weight": CTX}}, "no tensor ctx but 'weight'"),
        ({"model_state_dict": CTX}, "no tensor ctx but nothing"),
        (CTX, "no tensor ctx"),
        ({"a.my_ctx": CTX}, "no tensor ctx but 'a.my_ctx'"),
        ({"model_state_dict": {"ctx": CTX, "module.ctx": CTX}}, r"several tensors ctx \('ctx', 'module.ctx'\)"),
        ({"ctx": CTX[0]}, rf"shape \[3, 2, {WIDTH}\], not \[1, prompts"),
        ({"ctx": CTX[:, :0]}, "shape"),
        ({"ctx": CTX.expand(4, -1, -1, -1)}, "4 classes"),
        ({"ctx": CTX.to(torch.int64)}, "torch.int64"),
        ({"ctx": CTX.to_sparse()}, "sparse"),
        ({"ctx": CTX.to("meta")}, "meta"),
        ({"ctx": "words"}, "str"),
        ({"ctx": torch.full_like(CTX, float("nan"))}, "not finite"),
        ({"ctx": torch.full_like(CTX, float("inf"))}, "not finite"),
    ],
)
def test_odd_checkpoints_are_refused_in_one_line_that_names_the_file(saved, content, message):
    with pytest.raises(UserError, match=message) as caught:
        read_official(saved(content))
    assert "final-1.pt" in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickle_that_runs_code_is_refused_and_not_run(saved, tmp_path, zipped):
    path = saved({"ctx": CTX, "more": Bomb(tmp_path / "trace")}, _use_new_zipfile_serialization=zipped)
    with pytest.raises(UserError, match=r"would run code \(\w+\.mkdir\)") as caught:
        read_official(path)
    assert not (tmp_path / "trace").exists() and "\n" not in str(caught.value)
    torch.load(path, weights_only=False)
    assert (tmp_path / "trace").exists(), "the bomb is a dud and the test shows nothing"


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("kept", [0.0, 0.5, 0.99])
def test_a_truncated_checkpoint_is_no_traceback(saved, zipped, kept):
    path = saved({"ctx": CTX}, _use_new_zipfile_serialization=zipped)
    path.write_bytes(path.read_bytes()[: int(kept * path.stat().st_size)])
    with pytest.raises(UserError, match="final-1.pt (cannot be read|is refused)") as caught:
        read_official(path)
    assert "\n" not in str(caught.value)


def test_other_files_are_no_traceback(tmp_path):
    (tmp_path / "text.pt").write_text("hello world")
    for path, message in ((tmp_path / "text.pt", "cannot be read"), (tmp_path, "folder"), (tmp_path / "no", "exist")):
        with pytest.raises(UserError, match=message):
            read_official(path)


def test_what_is_written_is_what_the_official_loader_takes(tmp_path):
    distribution = PromptDistribution(CTX[0], "diagonal", "ab", prefix="a photo of", suffix="at night")
    write_official(distribution, tmp_path / "out.pt")
    # The official commands unwrap `model_state_dict`, and accept `ctx` of rank 4 and no key beside it.
    state = torch.load(tmp_path / "out.pt", weights_only=True)["model_state_dict"]
    assert list(state) == ["ctx"] and torch.equal(state["ctx"], CTX)
    assert [path.name for path in tmp_path.iterdir()] == ["out.pt"]
    read = read_official(tmp_path / "out.pt")
    assert torch.equal(read.tokens, CTX[0]) and (read.prefix, read.suffix) == ("a photo of", "at night")


def test_only_the_prompts_are_written_not_the_storage_they_are_a_view_of(tmp_path):
    many = torch.zeros(10_000, 2, WIDTH)
    write_official(PromptDistribution(many[:1], "diagonal", "ab"), tmp_path / "out.pt")
    assert (tmp_path / "out.pt").stat().st_size < 10_000


@pytest.mark.parametrize("dtype", ["<f8", ">f8", "<f4", "<f2"])
def test_moments_are_read_in_any_float(moments, dtype):
    read = read_official_moments(moments(means=MEANS.astype(dtype), stds=STDS.astype(dtype), prompt_texts=["a cat "]))
    assert read.text == "a cat " and read.mu.dtype == read.sigma.dtype == torch.float32
    np.testing.assert_array_equal(read.mu.numpy(), MEANS[0].astype(dtype).astype("<f4"))
    np.testing.assert_array_equal(read.sigma.numpy(), STDS[0].astype(dtype).astype("<f4"))


def test_moments_need_no_words(moments):
    assert read_official_moments(moments(means=MEANS, stds=STDS)).text == ""
    assert read_official_moments(moments(means=MEANS, stds=STDS, prompt_texts=[])).text == ""


@pytest.mark.parametrize(
    "changes,message",
    [
        ({"stds": STDS[:, :4]}, "both must be"),
        ({"means": np.tile(MEANS, (2, 1, 1)), "stds": np.tile(STDS, (2, 1, 1))}, "one class"),
        ({"means": MEANS[0], "stds": STDS[0]}, r"'means' has the shape \[5, 16\]"),
        ({"stds": -STDS}, "negative"),
        ({"means": MEANS * np.nan}, "'means' holds numbers that are not finite"),
        ({"means": MEANS * 1e300}, "not finite"),
        ({"means": MEANS.astype(int)}, "no array of floats"),
        ({"stds": STDS.astype(str)}, "no array of floats"),
    ],
)
def test_odd_moments_are_refused(moments, changes, message):
    with pytest.raises(UserError, match=message) as caught:
        read_official_moments(moments(**{"means": MEANS, "stds": STDS} | changes))
    assert "final-1.npz" in str(caught.value) and "\n" not in str(caught.value)


def test_moments_without_deviations_are_refused(moments):
    with pytest.raises(UserError, match="lacks 'stds'"):
        read_official_moments(moments(means=MEANS))


@pytest.mark.parametrize("key", ["means", "prompt_texts"])
def test_arrays_of_objects_are_refused_and_not_unpickled(moments, tmp_path, key):
    bomb = np.array([Bomb(tmp_path / "trace")], dtype=object)
    with pytest.raises(UserError, match="final-1.npz cannot be read"):
        read_official_moments(moments(**{"means": MEANS, "stds": STDS, key: bomb}))
    assert not (tmp_path / "trace").exists()


def test_files_that_are_no_archive_of_arrays_are_refused(moments, tmp_path):
    path = moments(means=MEANS, stds=STDS)
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(UserError, match="cannot be read"):
        read_official_moments(path)
    with zipfile.ZipFile(tmp_path / "raw.npz", "w") as archive:
        archive.writestr("means", b"no array")
        archive.writestr("stds", b"no array")
    with pytest.raises(UserError, match="no array of floats"):
        read_official_moments(tmp_path / "raw.npz")
    np.save(tmp_path / "one.npy", MEANS)
    (tmp_path / "one.npy").rename(tmp_path / "one.npz")
    with pytest.raises(UserError, match="one.npz"):
        read_official_moments(tmp_path / "one.npz")


def test_a_zero_that_says_it_is_a_trillion_is_refused(saved):
    """Such a file is 1.5 kB; read as what it says it would be terabytes."""
    path = saved({"ctx": torch.zeros(1).expand(1, 10**6, 1000, 1000)})
    assert path.stat().st_size < 5000
    with pytest.raises(UserError, match="'ctx' holds 1,000,000,000,000 numbers, more than"):
        read_official(path)


def test_moments_that_unpack_to_more_than_any_are_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "m.npz", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name in ("means", "stds"):
            with archive.open(f"{name}.npy", "w") as file:
                for _ in range(2**27 // 2**20 + 1):
                    file.write(bytes(2**20))
    assert (tmp_path / "m.npz").stat().st_size < 2 * 2**20
    with pytest.raises(UserError, match="'means' holds 67,633,152 numbers"):
        read_official_moments(tmp_path / "m.npz")
