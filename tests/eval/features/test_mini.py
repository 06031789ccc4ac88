import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from dreamdist3d.errors import UserError
from dreamdist3d.eval.features import MiniClip, MiniDino
from tests.eval.tiny import save_clip, save_dino


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("judges")
    return {MiniDino: save_dino(root / "dino"), MiniClip: save_clip(root / "clip")}


def pictures(count: int, size: int = 48) -> torch.Tensor:
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize(("judge", "width"), [(MiniDino, 16), (MiniClip, 8)])
def test_unit_vectors_and_no_gradient(folders, judge, width):
    features = judge(folders[judge]).encode(pictures(3))
    assert features.shape == (3, width) and not features.requires_grad
    torch.testing.assert_close(features.norm(dim=-1), torch.ones(3))
    assert not torch.allclose(features[0], features[1], atol=1e-4)


@pytest.mark.parametrize("judge", [MiniDino, MiniClip])
def test_a_picture_is_judged_alike_alone_and_in_a_large_batch(folders, judge):
    encoder = judge(folders[judge])
    many = pictures(70, size=32)
    torch.testing.assert_close(encoder.encode(many)[66:67], encoder.encode(many[66:67]), atol=1e-5, rtol=1e-4)


def test_dino_is_the_class_token_of_normalised_pixels(folders):
    encoder = MiniDino(folders[MiniDino])
    images = pictures(2, size=32)
    token = encoder._model(pixel_values=images * 2 - 1).last_hidden_state[:, 0]
    torch.testing.assert_close(encoder.encode(images), token / token.norm(dim=-1, keepdim=True))


def test_large_pictures_are_averaged_down(folders):
    encoder = MiniDino(folders[MiniDino])
    images = pictures(2, size=32)
    # A pattern finer than the model's pixels must not alias into a different picture.
    checker = torch.tensor([[1.0, -1.0], [-1.0, 1.0]]).repeat(32, 32) * 0.2
    large = images.repeat_interleave(2, -1).repeat_interleave(2, -2) * 0.5 + 0.25
    similarity = (encoder.encode(large) * encoder.encode(large + checker)).sum(-1)
    assert (similarity > 0.999).all()


def test_stored_normalisation_is_used(folders, tmp_path):
    path = save_dino(tmp_path / "dino")
    (path / "preprocessor_config.json").write_text(json.dumps({"image_mean": [0.0] * 3, "image_std": [1.0] * 3}))
    images = pictures(2, size=32)
    shifted = MiniDino(folders[MiniDino]).encode((images + 1) / 2)  # (x + 1) / 2 normalised by 0.5, 0.5 is x
    torch.testing.assert_close(MiniDino(path).encode(images), shifted)


def test_texts_share_the_space_of_pictures(folders):
    features = MiniClip(folders[MiniClip]).encode_text(["a red mug", "a much longer sentence than the context holds"])
    assert features.shape == (2, 8)
    torch.testing.assert_close(features.norm(dim=-1), torch.ones(2))


@pytest.mark.parametrize("judge", [MiniDino, MiniClip])
def test_missing_or_broken_judges_are_named(folders, judge, tmp_path):
    with pytest.raises(UserError, match=r"missing: no \w+Model in .*nowhere"):
        judge(tmp_path / "nowhere")
    for source in folders[judge].iterdir():
        (tmp_path / source.name).write_bytes(source.read_bytes())
    (tmp_path / "model.safetensors").write_bytes(b"short")
    with pytest.raises(UserError, match="does not load"):
        judge(tmp_path)


def test_judge_with_weights_left_out_is_named(folders, tmp_path):
    """Random numbers in their place would score pictures without anybody noticing."""
    for source in folders[MiniDino].iterdir():
        (tmp_path / source.name).write_bytes(source.read_bytes())
    weights = load_file(tmp_path / "model.safetensors")
    save_file({k: v for k, v in weights.items() if k != "embeddings.cls_token"}, tmp_path / "model.safetensors")
    with pytest.raises(UserError, match=r"no weights for embeddings\.cls_token"):
        MiniDino(tmp_path)
