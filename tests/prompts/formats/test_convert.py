"""Import and export: what becomes what, and what is said about the rest."""

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from dreamdist3d.errors import UserError
from dreamdist3d.files import sha256_of
from dreamdist3d.prompts import FixedMoments, PromptComposition, PromptDistribution, SoftPromptEncoder
from dreamdist3d.prompts.formats.convert import convert
from tests.prompts.tiny import LENGTH, WIDTH

CTX = torch.randn(1, 3, 2, WIDTH, generator=torch.Generator().manual_seed(0))
VECTORS = CTX[0, 0]


@pytest.fixture
def official(tmp_path):
    torch.save({"model_state_dict": {"_orig_mod.ctx": CTX}}, tmp_path / "final-9.pt")
    return tmp_path / "final-9.pt"


@pytest.fixture
def moments(tmp_path):
    arrays = {"means": np.zeros((1, LENGTH, WIDTH)), "stds": np.ones((1, LENGTH, WIDTH)), "prompt_texts": ["a cat"]}
    np.savez(tmp_path / "final-9.npz", **arrays)
    return tmp_path / "final-9.npz"


@pytest.fixture
def learned(tmp_path, backbone):
    path = tmp_path / "learned.safetensors"
    PromptDistribution(CTX[0], "low_rank", backbone.fingerprint, "a photo of", "at night").save(path)
    return path


@pytest.fixture
def single(tmp_path, backbone):
    path = tmp_path / "single.safetensors"
    PromptDistribution(CTX[0, :1], "low_rank", backbone.fingerprint).save(path)
    return path


def test_an_official_checkpoint_becomes_a_distribution_that_says_where_it_is_from(official, out, backbone):
    assert convert(official, out, backbone, prefix="a photo of") == out
    read = PromptDistribution.load(out)
    assert torch.equal(read.tokens, CTX[0]) and read.covariance == "diagonal"
    assert (read.prefix, read.suffix, read.encoder_fingerprint) == ("a photo of", "", backbone.fingerprint)
    assert read.metadata["imported_from"] == "final-9.pt" and read.metadata["imported_sha256"] == sha256_of(official)
    assert read.metadata["backbone"] == "tiny" and "1/(K-1)" in read.metadata["differences"]
    assert not any(str(official.parent) in value for value in read.metadata.values())


def test_official_there_and_back_is_bit_equal_and_keeps_the_words(official, out, backbone, tmp_path):
    convert(official, out, backbone, prefix="a photo of", suffix="at night")
    back = convert(out, tmp_path / "back.pt")
    assert torch.equal(torch.load(back, weights_only=True)["model_state_dict"]["ctx"], CTX)
    again = PromptDistribution.load(convert(back, tmp_path / "again.safetensors", backbone))
    assert again.content_hash == PromptDistribution.load(out).content_hash
    other = PromptDistribution.load(convert(back, tmp_path / "other.safetensors", backbone, prefix=""))
    assert (other.prefix, other.suffix) == ("", "at night")


@pytest.mark.parametrize("suffix", [".safetensors", ".bin"])
def test_an_embedding_there_and_back_is_bit_equal_and_keeps_its_name(out, backbone, tmp_path, suffix):
    source = tmp_path / f"source{suffix}"
    save_file({"<cat>": VECTORS}, source) if suffix == ".safetensors" else torch.save({"<cat>": VECTORS}, source)
    read = PromptDistribution.load(convert(source, out, backbone, suffix="at night"))
    assert torch.equal(read.tokens, VECTORS[None]) and (read.prefix, read.suffix) == ("", "at night")
    assert (read.moments(SoftPromptEncoder(backbone.tokenizer, backbone.text_encoder)).sigma == 0).all()
    back = convert(out, tmp_path / f"back{suffix}")
    again = PromptDistribution.load(convert(back, tmp_path / "again.safetensors", backbone, suffix="at night"))
    assert again.content_hash == read.content_hash and again.metadata["token"] == "<cat>"


def test_a_pickled_embedding_is_told_from_a_checkpoint_by_its_content(out, backbone, tmp_path):
    torch.save({"string_to_param": {"*": VECTORS}, "name": "cat"}, tmp_path / "webui.pt")
    assert PromptDistribution.load(convert(tmp_path / "webui.pt", out, backbone)).metadata["token"] == "cat"
    torch.save({"ctx": CTX}, tmp_path / "plain.bin")
    assert len(PromptDistribution.load(convert(tmp_path / "plain.bin", out, backbone)).tokens) == 3


def test_the_placeholder_is_named_by_the_user_or_after_the_file(single, tmp_path):
    convert(single, tmp_path / "my cats.bin")
    assert list(torch.load(tmp_path / "my cats.bin", weights_only=True)) == ["<my-cats>"]
    convert(single, tmp_path / "e.bin", token="<cats>")
    assert list(torch.load(tmp_path / "e.bin", weights_only=True)) == ["<cats>"]


def test_official_moments_become_fixed_ones_that_cannot_be_edited(moments, out, backbone):
    read = FixedMoments.load(convert(moments, out, backbone))
    assert (read.mu == 0).all() and (read.sigma == 1).all() and read.encoder_fingerprint == backbone.fingerprint
    assert read.metadata["editable"] == "no" and read.metadata["nearest_words"] == "a cat"
    assert read.metadata["imported_from"] == "final-9.npz"
    with pytest.raises(UserError, match="--prefix, --suffix and --token do not apply"):
        convert(moments, out, backbone, suffix="at night")


def test_another_width_is_one_line_with_both_numbers(tmp_path, out, backbone):
    torch.save({"ctx": torch.zeros(1, 3, 2, 1024)}, tmp_path / "sd21.pt")
    torch.save({"<cat>": torch.zeros(2, 768)}, tmp_path / "sd15.bin")
    np.savez(tmp_path / "sd21.npz", means=np.zeros((1, 77, 1024)), stds=np.zeros((1, 77, 1024)))
    expected = {"sd21.pt": f"width 1024, .*takes {WIDTH}", "sd15.bin": f"width 768, .*takes {WIDTH}"}
    expected["sd21.npz"] = rf"\[77, 1024\], .*gives \[{LENGTH}, {WIDTH}\]"
    for name, message in expected.items():
        with pytest.raises(UserError, match=message) as caught:
            convert(tmp_path / name, out, backbone)
        assert "\n" not in str(caught.value)
    assert not out.exists()


def test_a_checkpoint_of_another_text_encoder_of_the_same_width_is_refused(tmp_path, out, backbone):
    ours = backbone.text_encoder.get_input_embeddings().weight
    key = "text_encoder.embeddings.token_embedding.weight"
    for table in (ours.clone(), ours.half(), ours.bfloat16()):
        torch.save({"model_state_dict": {"ctx": CTX, key: table}}, tmp_path / "same.pt")
        convert(tmp_path / "same.pt", out, backbone)
    for table in (ours.roll(1, 0), ours[:-1].clone()):
        torch.save({"model_state_dict": {"ctx": CTX, key: table}}, tmp_path / "other.pt")
        with pytest.raises(UserError, match="another text encoder than tiny's"):
            convert(tmp_path / "other.pt", out, backbone)


def test_an_export_with_another_backbone_is_refused(learned, tmp_path, backbone):
    convert(learned, tmp_path / "same.pt", backbone)
    backbone.fingerprint = "e" * 64
    with pytest.raises(UserError, match="another text encoder"):
        convert(learned, tmp_path / "other.pt", backbone)


def test_words_too_many_for_the_encoder_are_found_at_the_import(official, out, backbone):
    with pytest.raises(UserError, match="too long"):
        convert(official, out, backbone, prefix="a photo of " * 6)
    assert not out.exists()


@pytest.mark.parametrize(
    "src,dst",
    [
        ("final-9.pt", "x.bin"),
        ("final-9.pt", "x.pt"),
        ("final-9.pt", "x"),
        ("final-9.npz", "x.npz"),
        ("learned.safetensors", "x.npz"),
        ("picture.png", "x.safetensors"),
    ],
)
def test_nonsense_pairs_are_refused_with_a_list_of_the_others(official, moments, learned, backbone, tmp_path, src, dst):
    (tmp_path / "picture.png").write_bytes(b"?")
    with pytest.raises(UserError, match=rf"{src} cannot become {dst}\. Official \.pt or \.npz.*become"):
        convert(tmp_path / src, tmp_path / dst, backbone)
    assert not (tmp_path / dst).exists()


def test_only_what_was_learned_is_exported(moments, learned, out, backbone, tmp_path):
    PromptComposition([PromptDistribution.load(learned) for _ in range(2)]).save(tmp_path / "both.safetensors")
    for path in (tmp_path / "both.safetensors", convert(moments, out, backbone)):
        with pytest.raises(UserError, match="only what `learn` wrote"):
            convert(path, tmp_path / "x.pt")


def test_the_source_is_never_overwritten_under_whatever_name(single, tmp_path):
    before = single.read_bytes()
    (tmp_path / "link.safetensors").symlink_to(single)
    (tmp_path / "hard.safetensors").hardlink_to(single)
    for name in ("single", "link", "hard"):
        with pytest.raises(UserError, match="itself: choose another name"):
            convert(single, tmp_path / f"{name}.safetensors")
    assert single.read_bytes() == before


def test_settings_without_effect_are_refused(official, learned, tmp_path, out, backbone):
    with pytest.raises(UserError, match="name it with --backbone"):
        convert(official, out)
    with pytest.raises(UserError, match="no placeholder tokens"):
        convert(official, out, backbone, token="<a>")
    with pytest.raises(UserError, match="belong to imports"):
        convert(learned, tmp_path / "x.pt", prefix="")
    with pytest.raises(UserError, match="leave it out"):
        convert(learned, tmp_path / "x.pt", token="<a>")


def test_a_missing_or_damaged_source_is_no_traceback(tmp_path, learned, out, backbone):
    with pytest.raises(UserError, match="does not exist"):
        convert(tmp_path / "none.pt", out, backbone)
    learned.write_bytes(learned.read_bytes()[:100])
    with pytest.raises(UserError, match="learned.safetensors cannot be read"):
        convert(learned, out, backbone)


def test_a_file_name_that_is_no_text_is_recorded_as_text(moments, out, backbone):
    odd = moments.rename(moments.with_name("caf\udce9.npz"))
    assert FixedMoments.load(convert(odd, out, backbone)).metadata["imported_from"] == "caf\ufffd.npz"
