"""The joint-view UNet against a stock UNet, explicit softmax attention and a hand-made camera embedding."""

import pytest
import torch
import torch.nn.functional as F
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor

from dreamdist3d.backbones import install_joint_attention, load_backbone
from tests.prompts.tiny import LENGTH, WIDTH

VIEWS, OBJECTS = 4, 2
COUNT = VIEWS * OBJECTS


@pytest.fixture(scope="module")
def backbone(tiny_backbone):
    backbone = load_backbone(str(tiny_backbone))
    # Random initial weights hardly attend: larger ones make a wrong mixture of views show.
    generator = torch.Generator().manual_seed(11)
    for name, weight in backbone.unet.named_parameters():
        if any(part in name for part in ("to_q", "to_k", "to_v", "class_embedding")):
            weight.copy_(torch.randn(weight.shape, generator=generator) * 0.5)
    return backbone


@pytest.fixture
def inputs():
    generator = torch.Generator().manual_seed(5)
    return {
        "latents": torch.randn(COUNT, 4, 8, 8, generator=generator),
        "timesteps": torch.randint(1000, (OBJECTS,), generator=generator).repeat_interleave(VIEWS),
        "text": torch.randn(COUNT, LENGTH, WIDTH, generator=generator),
        "cameras": torch.randn(COUNT, 16, generator=generator),
    }


def explicit_attention(query, key, value, heads):
    """softmax(q k^T / sqrt(d)) v for one sequence, head by head."""
    mixed = []
    for q, k, v in zip(*(x.chunk(heads, dim=-1) for x in (query, key, value)), strict=True):
        scores = q @ k.t() / q.shape[-1] ** 0.5
        weights = scores.exp() / scores.exp().sum(dim=-1, keepdim=True)
        mixed.append(weights @ v)
    return torch.cat(mixed, dim=-1)


class OneObjectAfterAnother:
    """Self-attention over the concatenated views of each object, cross-attention view by view."""

    def __init__(self, views):
        self.views = views

    def __call__(self, attn, hidden_states, encoder_hidden_states=None, **_):
        out = torch.empty_like(hidden_states)
        size = self.views if encoder_hidden_states is None else 1
        for start in range(0, len(hidden_states), size):
            rows = range(start, start + size)
            asked = torch.cat([hidden_states[row] for row in rows])
            seen = asked if encoder_hidden_states is None else encoder_hidden_states[start]
            q, k, v = (F.linear(x, p.weight) for x, p in ((asked, attn.to_q), (seen, attn.to_k), (seen, attn.to_v)))
            mixed = F.linear(explicit_attention(q, k, v, attn.heads), attn.to_out[0].weight, attn.to_out[0].bias)
            for row, part in zip(rows, mixed.chunk(size), strict=True):
                out[row] = part
        return out


def reference(unet, inputs, views):
    """A UNet that knows no cameras; the embedding is added to the time embedding from outside."""
    without = {"class_embed_type": None, "projection_class_embeddings_input_dim": None}
    plain = UNet2DConditionModel.from_config({**unet.config, **without}).eval()
    weights = unet.state_dict()
    camera = {name: weights.pop(f"class_embedding.{name}") for name in (
        "linear_1.weight", "linear_1.bias", "linear_2.weight", "linear_2.bias"
    )}  # fmt: skip
    plain.load_state_dict(weights)
    plain.set_attn_processor(OneObjectAfterAnother(views))
    hidden = F.linear(inputs["cameras"], camera["linear_1.weight"], camera["linear_1.bias"])
    hidden = hidden * torch.sigmoid(hidden)
    embedding = F.linear(hidden, camera["linear_2.weight"], camera["linear_2.bias"])
    plain.time_embedding.register_forward_hook(lambda module, arguments, output: output + embedding)
    with torch.no_grad():
        return plain(inputs["latents"], inputs["timesteps"], encoder_hidden_states=inputs["text"]).sample


@pytest.mark.parametrize("views", [4, 2, 1])
def test_equals_the_explicit_implementation(backbone, inputs, views):
    expected = reference(backbone.unet, inputs, views)
    torch.testing.assert_close(backbone.predict(**inputs, n_views=views), expected, atol=1e-5, rtol=1e-5)


def test_the_number_of_views_matters(backbone, inputs):
    joint, single = (backbone.predict(**inputs, n_views=views) for views in (4, 1))
    assert (joint - single).abs().max() > 1e-3


def test_no_camera_is_a_camera_of_zeros(backbone, inputs):
    zeros = backbone.predict(**inputs | {"cameras": torch.zeros(COUNT, 16)}, n_views=4)
    assert torch.equal(backbone.predict(**inputs | {"cameras": None}, n_views=4), zeros)
    assert (backbone.predict(**inputs, n_views=4) - zeros).abs().max() > 1e-3


def test_one_view_is_the_stock_processor(backbone, inputs):
    ours = backbone.predict(**inputs, n_views=1)
    processors = backbone.unet.attn_processors
    backbone.unet.set_attn_processor(AttnProcessor())
    arguments = inputs["latents"], inputs["timesteps"]
    stock = backbone.unet(*arguments, encoder_hidden_states=inputs["text"], class_labels=inputs["cameras"]).sample
    backbone.unet.set_attn_processor(processors)
    torch.testing.assert_close(ours, stock, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("changed", range(COUNT))
def test_a_view_is_seen_by_its_siblings_and_by_nobody_else(backbone, inputs, changed):
    before = backbone.predict(**inputs, n_views=VIEWS)
    inputs["latents"][changed] += 1.0
    moved = (backbone.predict(**inputs, n_views=VIEWS) - before).abs().flatten(1).amax(dim=1)
    same_object = torch.arange(COUNT) // VIEWS == changed // VIEWS
    assert (moved[same_object] > 1e-4).all() and (moved[~same_object] < 1e-6).all()


def test_siblings_order_does_not_matter(backbone, inputs):
    """Self-attention has no position among the views: permuted views give permuted outputs."""
    order = torch.tensor([2, 0, 3, 1, 5, 4, 7, 6])
    permuted = {name: value[order] for name, value in inputs.items()}
    expected = backbone.predict(**inputs, n_views=VIEWS)[order]
    torch.testing.assert_close(backbone.predict(**permuted, n_views=VIEWS), expected, atol=1e-5, rtol=1e-5)


def test_a_call_overrides_the_installed_number_of_views(backbone, inputs):
    """Without `n_views` the default holds; `cross_attention_kwargs` names another for one call."""
    rest = {"encoder_hidden_states": inputs["text"], "class_labels": inputs["cameras"]}
    arguments = inputs["latents"], inputs["timesteps"]
    processors = backbone.unet.attn_processors
    install_joint_attention(backbone.unet, 2)
    default = backbone.unet(*arguments, **rest).sample
    four = backbone.unet(*arguments, **rest, cross_attention_kwargs={"n_views": 4}).sample
    backbone.unet.set_attn_processor(processors)
    torch.testing.assert_close(default, backbone.predict(**inputs, n_views=2), atol=1e-6, rtol=0)
    torch.testing.assert_close(four, backbone.predict(**inputs, n_views=4), atol=1e-6, rtol=0)
