import json

import open_clip
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from dreamdist3d.errors import UserError
from dreamdist3d.eval.features import PUBLISHED, ClipEncoder, TextEncoder
from dreamdist3d.eval.features.clip import ClipModel

SMALL = ClipModel("clip_vitb32", "CLIP ViT-B/32", "small-clip", "nobody/small-clip")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """Random weights of a small CLIP in the layout of the hub's repositories, and the model itself."""
    folder = tmp_path_factory.mktemp("clip")
    tower = {"layers": 1, "width": 64}
    config = {
        "embed_dim": 8,
        "vision_cfg": {**tower, "image_size": 224, "patch_size": 56},
        "text_cfg": {**tower, "context_length": 77, "vocab_size": 49408, "heads": 2},
    }
    (folder / "small-clip.json").write_text(json.dumps(config))
    open_clip.add_model_config(folder / "small-clip.json")
    torch.manual_seed(0)
    network = open_clip.create_model("small-clip", force_quick_gelu=True).eval()
    save_file(network.state_dict(), folder / "open_clip_model.safetensors")
    return network, folder / "open_clip_model.safetensors"


@pytest.fixture
def encoder(checkpoint, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HOME", str(tmp_path / "hf"))
    return ClipEncoder(SMALL, checkpoint[1])


def picture(height: int, width: int) -> torch.Tensor:
    values = torch.randint(256, (3, height, width), generator=torch.Generator().manual_seed(6))
    return values.float() / 255.0


def test_features_are_those_of_open_clips_own_transform(checkpoint, encoder):
    transform = open_clip.image_transform(
        224, is_train=False, mean=open_clip.OPENAI_DATASET_MEAN, std=open_clip.OPENAI_DATASET_STD
    )
    images = [picture(90, 120), picture(300, 260)]
    pillows = [Image.fromarray((image * 255).round().byte().movedim(0, -1).numpy()) for image in images]
    with torch.no_grad():
        expected = checkpoint[0].encode_image(torch.stack([transform(pillow) for pillow in pillows]), normalize=True)
    torch.testing.assert_close(encoder.encode(images), expected, atol=1e-6, rtol=1e-5)
    assert encoder.resize == "bicubic (Pillow), shorter side to 224, middle 224 x 224"


def test_preprocessing_is_what_the_published_weights_record(encoder):
    for key in ("clip_vitb32", "clip_vitl14"):
        published = open_clip.get_pretrained_cfg(PUBLISHED[key].architecture, "openai")
        assert PUBLISHED[key].repository == published["hf_hub"].strip("/") and published["quick_gelu"]
        used = encoder._model.visual.preprocess_cfg
        for part in ("mean", "std", "interpolation", "resize_mode"):
            assert used[part] == published[part]


def test_texts_share_the_space_of_pictures(checkpoint, encoder):
    texts = ["a red mushroom", "a much longer sentence than the context holds " * 20]
    features = encoder.encode_text(texts)
    with torch.no_grad():
        expected = checkpoint[0].encode_text(open_clip.get_tokenizer("ViT-B-32")(texts), normalize=True)
    torch.testing.assert_close(features, expected, atol=1e-6, rtol=1e-5)
    assert features.shape[1] == encoder.encode([picture(9, 9)]).shape[1] and isinstance(encoder, TextEncoder)


def test_the_activation_is_the_one_openai_trained_with(checkpoint, encoder):
    """open_clip loads these weights into the exact GELU without a word, and every feature is off."""
    plain = open_clip.create_model("small-clip").eval()
    open_clip.load_checkpoint(plain, str(checkpoint[1]))
    inputs = encoder._preprocess(picture(64, 64))[None]
    with torch.no_grad():
        exact = plain.encode_image(inputs, normalize=True)
    assert not torch.allclose(exact, encoder.encode([picture(64, 64)]), atol=1e-4)


def test_what_does_not_load_is_named_in_one_line(checkpoint, encoder, tmp_path):
    lacking = {key: value for key, value in load_file(checkpoint[1]).items() if key != "visual.proj"}
    save_file(lacking, tmp_path / "lacking.safetensors")
    (tmp_path / "short.pt").write_bytes(b"short")
    for name in ("lacking.safetensors", "short.pt"):
        with pytest.raises(UserError, match=rf"{name} does not load as CLIP ViT-B/32 \(") as caught:
            ClipEncoder(SMALL, tmp_path / name)
        assert "\n" not in str(caught.value)
