"""Pictures behind the words of a prompt."""

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

from dreamdist3d.backbones import install_reference_attention, load_backbone, scale_references, see_references
from dreamdist3d.backbones.reference_attention import ReferenceAttention
from dreamdist3d.backbones.references import FILE, hash_of
from dreamdist3d.errors import UserError

WORDS, WIDTH, PICTURES = 16, 16, 5


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def backbone(tiny_backbone):
    return load_backbone(str(tiny_backbone))


@pytest.fixture
def given():
    return noise(8, 4, 8, 8), torch.full((8,), 500), noise(8, WORDS, WIDTH, seed=1), noise(8, 16, seed=2)


def learned(backbone, counts=()):
    layers = install_reference_attention(backbone.unet, WORDS, counts)
    with torch.no_grad():
        for number, weight in enumerate(layers.parameters()):
            weight.copy_(noise(*weight.shape, seed=number) / 4)
    return layers


def test_without_references_nothing_changes_and_zeros_are_none(backbone, given):
    latents, times, text, cameras = given
    before = backbone.predict(latents, times, text, cameras, 4)
    learned(backbone)
    torch.testing.assert_close(backbone.predict(latents, times, text, cameras, 4), before, atol=1e-5, rtol=0)
    zeros = F.pad(text, (0, 0, 0, PICTURES))
    torch.testing.assert_close(backbone.predict(latents, times, zeros, cameras, 4), before, atol=1e-5, rtol=0)
    seen = torch.cat([text, noise(8, PICTURES, WIDTH, seed=3)], dim=1)
    assert (backbone.predict(latents, times, seen, cameras, 4) - before).abs().max() > 1e-3


def test_new_layers_add_nothing_before_they_learn(backbone, given):
    latents, times, text, cameras = given
    before = backbone.predict(latents, times, text, cameras, 4)
    install_reference_attention(backbone.unet, WORDS)
    seen = torch.cat([text, noise(8, PICTURES, WIDTH)], dim=1)
    torch.testing.assert_close(backbone.predict(latents, times, seen, cameras, 4), before, atol=1e-5, rtol=0)


def test_a_layer_is_attention_to_words_plus_attention_to_pictures(backbone):
    learned(backbone)
    name, layer = next((n, m) for n, m in backbone.unet.named_modules() if n.endswith("attn2"))
    own = backbone.unet.attn_processors[f"{name}.processor"]
    hidden, text = noise(2, 9, layer.query_dim), noise(2, WORDS + PICTURES, WIDTH, seed=1)
    words, pictures = text[:, :WORDS], text[:, WORDS:]

    def heads(x):
        return x.unflatten(-1, (layer.heads, -1)).transpose(1, 2)

    def attended(key, value):
        weights = (heads(layer.to_q(hidden)) @ heads(key).mT / heads(key).shape[-1] ** 0.5).softmax(-1)
        return (weights @ heads(value)).transpose(1, 2).flatten(2)

    both = attended(layer.to_k(words), layer.to_v(words)) + attended(own.to_k_ip[0](pictures), own.to_v_ip[0](pictures))
    torch.testing.assert_close(layer(hidden, text), layer.to_out[0](both), atol=1e-5, rtol=1e-4)


def test_branches_add_up_each_with_its_scale(backbone):
    """CAFE, equation 1: attention to words, plus s times attention to each branch's own keys and values."""
    learned(backbone, [2])
    scale_references(backbone.unet, (0.5, 3.0))
    name, layer = next((n, m) for n, m in backbone.unet.named_modules() if n.endswith("attn2"))
    own = backbone.unet.attn_processors[f"{name}.processor"]
    hidden, text = noise(2, 9, layer.query_dim), noise(2, WORDS + PICTURES, WIDTH, seed=1)
    words, first, rest = text.split([WORDS, 2, PICTURES - 2], dim=1)

    def heads(x):
        return x.unflatten(-1, (layer.heads, -1)).transpose(1, 2)

    def attended(key, value):
        weights = (heads(layer.to_q(hidden)) @ heads(key).mT / heads(key).shape[-1] ** 0.5).softmax(-1)
        return (weights @ heads(value)).transpose(1, 2).flatten(2)

    whole = attended(layer.to_k(words), layer.to_v(words))
    for scale, branch, key, value in zip((0.5, 3.0), (first, rest), own.to_k_ip, own.to_v_ip, strict=True):
        whole = whole + scale * attended(key(branch), value(branch))
    torch.testing.assert_close(layer(hidden, text), layer.to_out[0](whole), atol=1e-5, rtol=1e-4)
    scale_references(backbone.unet, (0.0, 0.0))
    torch.testing.assert_close(layer(hidden, text), layer(hidden, words), atol=1e-6, rtol=0)


def test_how_branches_are_cut_is_kept_with_their_weights(backbone, given, tmp_path):
    latents, times, text, cameras = given
    weights = {name: value.clone() for name, value in learned(backbone, [2]).state_dict().items()}
    seen = torch.cat([text, noise(8, PICTURES, WIDTH, seed=3)], dim=1)
    before = backbone.predict(latents, times, seen, cameras, 4)
    save_file(weights, tmp_path / FILE)
    other = load_backbone(backbone.name)
    see_references(other, hash_of(weights), str(tmp_path / FILE))
    torch.testing.assert_close(other.predict(latents, times, seen, cameras, 4), before, atol=1e-5, rtol=0)
    assert hash_of(weights) != hash_of({name: value + (name[2:] == "counts") for name, value in weights.items()})


@pytest.mark.parametrize("low_vram", [False, True])
def test_guidance_compares_pictures_with_none(backbone, given, low_vram):
    latents, times, text, cameras = given
    learned(backbone)
    backbone.low_vram = low_vram
    seen, negative = torch.cat([text, noise(8, PICTURES, WIDTH, seed=3)], dim=1), noise(8, WORDS, WIDTH, seed=4)
    with_text, without = backbone.predict_pair(latents, times, seen, negative, cameras, 4)
    torch.testing.assert_close(with_text, backbone.predict(latents, times, seen, cameras, 4), atol=1e-5, rtol=0)
    torch.testing.assert_close(without, backbone.predict(latents, times, negative, cameras, 4), atol=1e-5, rtol=0)


def test_weights_are_found_beside_the_model_or_where_they_were(backbone, tmp_path, monkeypatch):
    weights = {name: value.clone() for name, value in learned(load_backbone(backbone.name)).state_dict().items()}
    identity = backbone.identity
    with pytest.raises(UserError, match="learn without --details"):
        see_references(backbone, hash_of(weights))
    save_file(weights, tmp_path / "elsewhere.safetensors")
    see_references(backbone, hash_of(weights), str(tmp_path / "elsewhere.safetensors"))
    layer = next(one for one in backbone.unet.attn_processors.values() if isinstance(one, ReferenceAttention))
    assert torch.equal(layer.to_k_ip[0].weight, weights["0.to_k_ip.0.weight"])
    assert backbone.identity == identity  # what a run remembers of a model does not depend on distributions
    see_references(backbone, "")
    with pytest.raises(UserError, match="not what the distribution was made for"):
        see_references(backbone, "0" * 64, str(tmp_path / "elsewhere.safetensors"))


def test_weights_for_another_unet_are_refused(backbone, tmp_path):
    weights = {"0.to_k_ip.0.weight": torch.zeros(2, 2)}
    save_file(weights, tmp_path / FILE)
    with pytest.raises(UserError, match="another UNet"):
        see_references(backbone, hash_of(weights), str(tmp_path / FILE))
