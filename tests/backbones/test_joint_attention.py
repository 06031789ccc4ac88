"""The joint-view UNet against a stock UNet, explicit softmax attention and a hand-made camera embedding."""

import shutil

import pytest
import torch
import torch.nn.functional as F
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import Attention, AttnProcessor, AttnProcessor2_0

from dreamdist3d.backbones import JointViewAttention, install_joint_attention, load_backbone
from dreamdist3d.backbones.no_camera import leave_out_missing_cameras, stated_no_camera
from dreamdist3d.files import read_json, write_json
from tests.backbones.tiny import write_sd_folder
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


def test_no_camera_leaves_the_embedding_out(backbone, inputs):
    """As MVDream's code, which adds the camera embedding only where there is a camera; row by row."""
    leave_out_missing_cameras(backbone.unet)
    with_cameras = backbone.predict(**inputs, n_views=1)
    bare = backbone.predict(**inputs | {"cameras": None}, n_views=1)
    assert (with_cameras - bare).abs().max() > 1e-3
    mixed = inputs["cameras"].clone()
    mixed[::2] = 0
    found = backbone.predict(**inputs | {"cameras": mixed}, n_views=1)
    torch.testing.assert_close(found[::2], bare[::2], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(found[1::2], with_cameras[1::2], atol=1e-5, rtol=1e-5)
    stock = UNet2DConditionModel.from_config({**backbone.unet.config, "class_embed_type": None})
    stock.load_state_dict({k: v for k, v in backbone.unet.state_dict().items() if not k.startswith("class_embed")})
    expected = stock(inputs["latents"], inputs["timesteps"], encoder_hidden_states=inputs["text"]).sample
    torch.testing.assert_close(bare, expected, atol=1e-5, rtol=1e-5)


def test_a_folder_may_ask_for_the_embedding_of_zeros(backbone, inputs, tiny_backbone, tmp_path):
    """What miniatures of before `no_camera` were trained on."""
    folder = shutil.copytree(tiny_backbone, tmp_path / "zeros")
    index = folder / "model_index.json"
    write_json(index, (read_json(index) if index.exists() else {}) | {"no_camera": "zeros"})
    asked = load_backbone(str(folder))
    asked.unet.load_state_dict(backbone.unet.state_dict())
    zeros = asked.predict(**inputs | {"cameras": torch.zeros(COUNT, 16)}, n_views=4)
    assert torch.equal(asked.predict(**inputs | {"cameras": None}, n_views=4), zeros)
    assert (backbone.predict(**inputs | {"cameras": None}, n_views=4) - zeros).abs().max() > 1e-3
    torch.testing.assert_close(asked.predict(**inputs, n_views=4), backbone.predict(**inputs, n_views=4))


@pytest.mark.parametrize(
    "index,expected",
    [
        ({}, "omitted"),
        ({"vae": ["diffusers", "AutoencoderKL"], "n_views": 4}, "omitted"),
        ({"vae": ["diffusers", "AutoencoderTiny"]}, "zeros"),
        ({"vae": ["diffusers", "AutoencoderTiny"], "no_camera": "omitted"}, "omitted"),
        ({"no_camera": "zeros"}, "zeros"),
    ],
)
def test_a_folder_says_what_no_camera_means(index, expected):
    assert stated_no_camera(index) == expected


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


def test_objects_change_places_with_their_outputs(backbone, inputs):
    order = torch.tensor([4, 5, 6, 7, 0, 1, 2, 3])
    swapped = {name: value[order] for name, value in inputs.items()}
    expected = backbone.predict(**inputs, n_views=VIEWS)[order]
    torch.testing.assert_close(backbone.predict(**swapped, n_views=VIEWS), expected, atol=1e-6, rtol=1e-6)


def layer(channels=12, heads=3, seed=0, scale=1.0, **options):
    """One attention layer with weights that attend; self-attention, joint over the views."""
    attention = Attention(query_dim=channels, heads=heads, dim_head=channels // heads, **options).requires_grad_(False)
    generator = torch.Generator().manual_seed(seed)
    for weight in attention.parameters():
        weight.copy_(torch.randn(weight.shape, generator=generator) * scale)
    attention.set_processor(JointViewAttention())
    return attention


def by_hand(attention, hidden, views):
    """Float64, one object after another."""
    weights = {name: weight.double() for name, weight in attention.named_parameters()}
    out = []
    for seen in hidden.double().unflatten(0, (-1, views)):
        sequence = torch.cat(list(seen))
        q, k, v = (sequence @ weights[f"to_{part}.weight"].t() for part in "qkv")
        mixed = explicit_attention(q, k, v, attention.heads) @ weights["to_out.0.weight"].t()
        out += (mixed + weights["to_out.0.bias"]).chunk(views)
    return torch.stack(out)


@pytest.mark.parametrize("views", [1, 2, 3, 4, 6, 12])
@pytest.mark.parametrize(
    "dtype,tolerance",
    [(torch.float64, 1e-12), (torch.float32, 1e-5), (torch.float16, 5e-3), (torch.bfloat16, 4e-2)],
)
def test_any_number_of_views_in_any_precision(views, dtype, tolerance):
    attention = layer(scale=0.4).to(dtype)
    hidden = torch.randn(12, 5, 12, generator=torch.Generator().manual_seed(1)).to(dtype)
    expected = by_hand(attention, hidden, views)
    result = attention(hidden, n_views=views)
    assert result.dtype == dtype and result.shape == hidden.shape
    torch.testing.assert_close(result.double(), expected, atol=tolerance * float(expected.abs().max()), rtol=0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_scores_do_not_overflow(dtype):
    """`upcast_attention` of some Stable Diffusion 2.1 repositories is about this: q k^T beyond 65,504."""
    attention = layer(scale=1.0, upcast_attention=True).to(dtype)
    hidden = (torch.randn(4, 5, 12, generator=torch.Generator().manual_seed(1)) * 100).to(dtype)
    query, key = (F.linear(hidden, part.weight) for part in (attention.to_q, attention.to_k))
    assert float((query.double() @ key.double().transpose(1, 2)).abs().max()) > 2 * 65504
    result, expected = attention(hidden, n_views=2).double(), by_hand_stable(attention, hidden, 2)
    assert result.isfinite().all()
    torch.testing.assert_close(result, expected, atol=2e-2 * float(expected.abs().max()), rtol=0)


def by_hand_stable(attention, hidden, views):
    """`by_hand` on queries, keys and values as rounded as the layer's own, with scores too large for exp()."""
    out = []
    for seen in hidden.unflatten(0, (-1, views)):
        sequence = torch.cat(list(seen))
        q, k, v = (F.linear(sequence, getattr(attention, f"to_{part}").weight).double() for part in "qkv")
        heads = zip(*(x.chunk(attention.heads, dim=-1) for x in (q, k, v)), strict=True)
        mixed = torch.cat([(q @ k.t() / q.shape[-1] ** 0.5).softmax(-1) @ v for q, k, v in heads], dim=-1)
        out += F.linear(mixed, *(p.double() for p in attention.to_out[0].parameters())).chunk(views)
    return torch.stack(out)


def test_folding_the_views_copies_nothing():
    attention, asked = layer(), []
    attention.to_q.register_forward_hook(lambda module, given, output: asked.append(given[0]))
    hidden = torch.randn(8, 5, 12)
    attention(hidden, n_views=4)
    assert asked[0].shape == (2, 20, 12) and asked[0].data_ptr() == hidden.data_ptr()


def test_views_that_do_not_fill_an_object_are_refused():
    with pytest.raises(RuntimeError, match="unflatten"):
        layer()(torch.randn(6, 5, 12), n_views=4)


def test_one_view_is_plain_stable_diffusion(tmp_path):
    unet = load_backbone(str(write_sd_folder(tmp_path / "sd"))).unet
    generator = torch.Generator().manual_seed(0)
    latents, text = torch.randn(3, 4, 8, 8, generator=generator), torch.randn(3, LENGTH, WIDTH, generator=generator)
    answers = []
    for install in (lambda: unet.set_attn_processor(AttnProcessor2_0()), lambda: install_joint_attention(unet, 1)):
        install()
        answers.append(unet(latents, torch.tensor([1, 500, 999]), encoder_hidden_states=text).sample)
    assert torch.equal(*answers)


@pytest.mark.parametrize(
    "options,named",
    [
        ({"norm_num_groups": 2}, "group_norm"),
        ({"residual_connection": True}, "residual_connection"),
        ({"rescale_output_factor": 2.0}, "rescale_output_factor"),
        ({"qk_norm": "layer_norm"}, "norm_k, norm_q"),
        ({"scale_qk": False}, "scale_qk"),
        ({"cross_attention_norm": "layer_norm"}, "norm_cross"),
    ],
)
def test_options_it_does_not_know_are_refused_by_name(backbone, options, named):
    unet = UNet2DConditionModel.from_config(backbone.unet.config)
    unet.mid_block.attentions[0].transformer_blocks[0].attn1 = layer(8, 2, **options)
    with pytest.raises(ValueError, match=f"attn1 uses {named}"):
        install_joint_attention(unet, 4)


def test_a_mask_is_refused():
    with pytest.raises(ValueError, match="takes no mask"):
        layer()(torch.randn(4, 5, 12), attention_mask=torch.zeros(4, 5), n_views=4)


@pytest.fixture
def dynamo():
    """Compiled code, and how often it was compiled, are of one test."""
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    yield torch._dynamo.utils.counters
    torch._dynamo.reset()


# That inductor's code gives the same numbers is test_execution.py's, on a whole UNet.
@pytest.mark.forked
def test_it_compiles_without_a_graph_break(backbone, inputs, dynamo):
    compiled = torch.compile(backbone.unet, backend="eager", fullgraph=True)
    arguments = {
        "sample": inputs["latents"],
        "timestep": inputs["timesteps"],
        "encoder_hidden_states": inputs["text"],
        "class_labels": inputs["cameras"],
        "cross_attention_kwargs": {"n_views": VIEWS},
    }
    with torch.no_grad():
        found, expected = (unet(**arguments).sample for unet in (compiled, backbone.unet))
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    assert dynamo["stats"]["unique_graphs"] == 1 and not dynamo["graph_break"]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("dtype,tolerance", [(torch.float32, 1e-4), (torch.float16, 5e-3), (torch.bfloat16, 4e-2)])
def test_the_gpus_kernels_give_the_same(dtype, tolerance):
    attention = layer(channels=64, heads=2, scale=0.1).to("cuda", dtype)
    hidden = torch.randn(8, 33, 64, generator=torch.Generator().manual_seed(1)).to("cuda", dtype)
    expected = by_hand(attention, hidden, 4)
    near = tolerance * float(expected.abs().max())
    torch.testing.assert_close(attention(hidden, n_views=4).double(), expected, atol=near, rtol=0)
