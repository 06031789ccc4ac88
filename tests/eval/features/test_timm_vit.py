import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from dreamdist3d.errors import UserError
from dreamdist3d.eval.features import PUBLISHED
from dreamdist3d.eval.features.timm_vit import TimmEncoder, TimmModel

SMALL = {"embed_dim": 16, "depth": 1, "num_heads": 2}
MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])


@pytest.fixture(autouse=True)
def own_memory_of_hashes(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HOME", str(tmp_path / "hf"))


def small(key: str) -> TimmModel:
    model = PUBLISHED[key]
    return TimmModel(key, model.name, model.architecture, model.preprocess, SMALL)


def save(key: str, folder):
    """Random weights of the small model in the layout of the hub's repository."""
    import timm

    torch.manual_seed(0)
    network = timm.create_model(PUBLISHED[key].architecture, pretrained=False, num_classes=0, **SMALL)
    folder.mkdir(parents=True, exist_ok=True)
    save_file(network.state_dict(), folder / "model.safetensors")
    return network.eval(), folder / "model.safetensors"


def picture(height: int, width: int) -> torch.Tensor:
    values = torch.randint(256, (3, height, width), generator=torch.Generator().manual_seed(5))
    return values.float() / 255.0


def prepared(image: torch.Tensor, side: int, crop: int) -> torch.Tensor:
    """The published preprocessing by hand: Pillow's bicubic filter on 8 bits, the middle, mean and deviation."""
    pillow = Image.fromarray((image * 255).round().byte().movedim(0, -1).numpy())
    scale = side / min(pillow.size)
    pillow = pillow.resize(tuple(int(scale * length) for length in pillow.size), Image.Resampling.BICUBIC)
    left, top = (round((length - crop) / 2) for length in pillow.size)
    pixels = np.asarray(pillow.crop((left, top, left + crop, top + crop))) / 255.0
    return torch.from_numpy(((pixels - MEAN) / STD).transpose(2, 0, 1)).float()


@pytest.mark.parametrize(("key", "side", "crop"), [("dino_vits16", 256, 224), ("dino_vitb8", 256, 224)])
def test_features_are_the_class_token_of_the_authors_preprocessing(key, side, crop, tmp_path):
    network, path = save(key, tmp_path)
    encoder = TimmEncoder(small(key), path)
    images = [picture(128, 128), picture(300, 260)]
    inputs = torch.stack([prepared(image, side, crop) for image in images])
    with torch.no_grad():
        token = network.forward_features(inputs)[:, 0]
    expected = token / token.norm(dim=-1, keepdim=True)
    torch.testing.assert_close(encoder.encode(images), expected, atol=1e-5, rtol=1e-4)
    assert encoder.resize == f"bicubic (Pillow), shorter side to {side}, middle {crop} x {crop}"


def test_dinov2_is_seen_whole_at_518_pixels(tmp_path):
    network, path = save("dinov2", tmp_path)
    encoder = TimmEncoder(small("dinov2"), path)
    torch.testing.assert_close(encoder._preprocess(picture(128, 128)), prepared(picture(128, 128), 518, 518))
    assert encoder.encode([picture(64, 64)]).shape == (1, 16)
    assert encoder.resize == "bicubic (Pillow), shorter side to 518, middle 518 x 518"


def test_a_picture_is_judged_alike_alone_and_among_others(tmp_path):
    encoder = TimmEncoder(small("dino_vits16"), save("dino_vits16", tmp_path)[1])
    many = torch.stack([picture(32, 32) * factor for factor in (1.0, 0.5, 0.25)])
    torch.testing.assert_close(encoder.encode(many)[1:2], encoder.encode(many[1:2]), atol=1e-6, rtol=1e-5)
    with pytest.raises(ValueError, match="no pictures"):
        encoder.encode(many[:0])


def test_a_folder_and_the_authors_plain_file_load_too(tmp_path):
    network, path = save("dino_vits16", tmp_path / "hub")
    plain = tmp_path / "dino_deitsmall16_pretrain.pth"
    torch.save(load_file(path), plain)
    expected = TimmEncoder(small("dino_vits16"), path).encode([picture(40, 40)])
    for place in (tmp_path / "hub", plain):
        torch.testing.assert_close(TimmEncoder(small("dino_vits16"), place).encode([picture(40, 40)]), expected)


def test_model_id_tells_weights_apart(tmp_path):
    _, path = save("dino_vits16", tmp_path / "one")
    changed = {key: value + 1 for key, value in load_file(path).items()}
    save_file(changed, tmp_path / "two.safetensors")
    ids = [TimmEncoder(small("dino_vits16"), place).model_id for place in (path, tmp_path / "two.safetensors")]
    assert ids[0] != ids[1] and all(i.startswith("vit_small_patch16_224.dino@sha256:") for i in ids)


class Evil:
    def __reduce__(self):
        return (print, ("executed",))


def test_what_does_not_load_is_named_in_one_line(tmp_path, capsys):
    _, path = save("dino_vits16", tmp_path)
    lacking = {key: value for key, value in load_file(path).items() if key != "cls_token"}
    save_file(lacking, tmp_path / "lacking.safetensors")
    (tmp_path / "short.safetensors").write_bytes(b"short")
    torch.save({"cls_token": Evil()}, tmp_path / "evil.pth")
    for name in ("lacking.safetensors", "short.safetensors", "evil.pth"):
        with pytest.raises(UserError, match=rf"{name} does not load as DINO ViT-S/16 \(") as caught:
            TimmEncoder(small("dino_vits16"), tmp_path / name)
        assert "\n" not in str(caught.value)
    assert "executed" not in capsys.readouterr().out
    with pytest.raises(UserError, match=r"no weights for DINO ViT-S/16 in .*nowhere: give a checkpoint file"):
        TimmEncoder(small("dino_vits16"), tmp_path / "nowhere")


def test_the_published_architectures_are_timms_and_their_sizes_the_published_ones():
    import timm

    for key, width, depth in (("dino_vits16", 384, 12), ("dino_vitb8", 768, 12), ("dinov2", 768, 12)):
        with torch.device("meta"):
            network = timm.create_model(PUBLISHED[key].architecture, pretrained=False, num_classes=0)
        assert (network.num_features, len(network.blocks), network.global_pool) == (width, depth, "token")
        assert network.pretrained_cfg["hf_hub_id"] == f"timm/{PUBLISHED[key].architecture}"
        assert network.pretrained_cfg["mean"] == tuple(MEAN) and network.pretrained_cfg["std"] == tuple(STD)
