import pytest

from dreamdist3d.errors import UserError
from dreamdist3d.eval.features import PUBLISHED, ImageEncoder, MiniClip, MiniDino, TextEncoder, load_encoders


def test_mini_is_the_packaged_pair():
    encoders: list[ImageEncoder] = load_encoders(["mini"])
    assert [type(encoder) for encoder in encoders] == [MiniDino, MiniClip]
    assert [isinstance(encoder, TextEncoder) for encoder in encoders] == [False, True]
    assert all("@sha256:" in encoder.model_id and "64 x 64" in encoder.resize for encoder in encoders)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([], "no features named: give mini or some of dino_vits16"),
        (["dino"], "no features 'dino': choose mini"),
        (["mini", "mini"], "'mini' are named twice"),
        (["dino_vits16=a", "dino_vits16=b"], "'dino_vits16' are named twice"),
        (["dino_vits16=/nowhere/a.pth"], "no weights for DINO ViT-S/16 in /nowhere/a.pth"),
        (["clip_vitl14=/nowhere"], "give a checkpoint file, or a folder with open_clip_model.safetensors"),
    ],
)
def test_mistakes_are_named(names, message):
    with pytest.raises(UserError, match=message):
        load_encoders(names)


@pytest.mark.parametrize("key", PUBLISHED)
def test_weights_that_cannot_be_had_are_named_with_a_way_out(key, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(UserError, match=rf"download .*safetensors of the repository timm/.* {key}=PATH, .*mini") as e:
        load_encoders([key])
    assert "\n" not in str(e.value)
