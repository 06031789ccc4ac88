"""Converted UNets against the network written out plainly, and what cannot be converted."""

import pytest
import torch
from diffusers import UNet2DConditionModel

from dreamdist3d.backbones import convert_mvdream_unet
from dreamdist3d.errors import UserError
from tests.backbones.convert.original import CAMERA, CONTEXT, LATENT, unet_tensors
from tests.backbones.convert.plain import PlainUNet

WORDS, SIZE, OBJECTS = 5, 8, 2
PREFIX = "model.diffusion_model."


@pytest.fixture(scope="module")
def tensors():
    return unet_tensors()


def inputs(views, context=CONTEXT, camera=True):
    generator = torch.Generator().manual_seed(3)
    count = OBJECTS * views
    return (
        torch.randn(count, LATENT, SIZE, SIZE, generator=generator),
        torch.randint(1000, (OBJECTS,), generator=generator).repeat_interleave(views),
        torch.randn(count, WORDS, context, generator=generator),
        torch.randn(count, CAMERA, generator=generator) if camera else None,
    )


@torch.no_grad()
def run(unet, latents, times, text, cameras):
    return unet(latents, times, encoder_hidden_states=text, class_labels=cameras).sample


def names_and_values(unet):
    return {name: value.sum().item() for name, value in unet.state_dict().items()}


@pytest.mark.parametrize("views", [4, 2, 1])
@pytest.mark.parametrize(
    "architecture",
    [
        {},
        {"attends": (False, True)},
        {"attends": (True, False)},
        {"widths": (32, 64, 128), "attends": (False, True, True), "blocks": 2, "context": 24},
        {"widths": (32, 64), "linear": False},
    ],
)
def test_equals_the_original_network(architecture, views):
    tensors = unet_tensors(**architecture)
    given = inputs(views, architecture.get("context", CONTEXT))
    found = run(convert_mvdream_unet(tensors, n_views=views), *given)
    torch.testing.assert_close(found, PlainUNet(tensors, views)(*given), atol=1e-4, rtol=0)


def test_views_and_cameras_matter(tensors):
    latents, times, text, cameras = inputs(4)
    unet = convert_mvdream_unet(tensors)
    joint = run(unet, latents, times, text, cameras)
    alone = run(convert_mvdream_unet(tensors, n_views=1), latents, times, text, cameras)
    assert (joint - alone).abs().max() > 1e-2
    assert (joint - run(unet, latents, times, text, torch.zeros_like(cameras))).abs().max() > 1e-2


@pytest.mark.parametrize("linear", [True, False])
def test_without_a_camera_it_is_a_plain_stable_diffusion_unet(linear):
    tensors = unet_tensors(camera=False, linear=linear)
    unet, given = convert_mvdream_unet(tensors), inputs(1, camera=False)
    assert unet.config.class_embed_type is None and unet.config.sample_size == 64
    torch.testing.assert_close(run(unet, *given), PlainUNet(tensors, 1)(*given), atol=1e-4, rtol=0)


def test_a_prefix_and_strangers_beside_it_change_nothing(tensors):
    prefixed = {PREFIX + name: tensor for name, tensor in tensors.items()}
    prefixed["first_stage_model.encoder.conv_in.weight"] = torch.zeros(1)
    assert names_and_values(convert_mvdream_unet(prefixed)) == names_and_values(convert_mvdream_unet(tensors))


def test_averaged_weights_are_preferred(tensors):
    averages = {"model_ema.diffusion_model" + name.replace(".", ""): tensor for name, tensor in tensors.items()}
    raw = {PREFIX + name: torch.zeros_like(tensor) for name, tensor in tensors.items()}
    assert names_and_values(convert_mvdream_unet(raw | averages)) == names_and_values(convert_mvdream_unet(tensors))


def test_it_is_a_stock_unet_and_reads_its_architecture(tensors):
    unet = convert_mvdream_unet(tensors)
    assert type(unet) is UNet2DConditionModel and not unet.training
    config = unet.config
    assert (config.sample_size, config.cross_attention_dim, config.projection_class_embeddings_input_dim) == (
        32,
        64,
        16,
    )
    assert (list(config.block_out_channels), list(config.attention_head_dim)) == ([64, 128], [1, 2])


def test_weights_of_the_right_precision_are_shared_and_others_cast(tensors):
    kept = convert_mvdream_unet(tensors).conv_in.weight
    assert kept.data_ptr() == tensors["input_blocks.0.0.weight"].data_ptr()
    halves = {name: tensor.half() for name, tensor in tensors.items()}
    assert {weight.dtype for weight in convert_mvdream_unet(halves).parameters()} == {torch.float32}
    unet = convert_mvdream_unet(tensors, dtype=torch.float16)
    assert {weight.dtype for weight in unet.parameters()} == {torch.float16}


@pytest.mark.parametrize(
    "lost", ["input_blocks.0.0.weight", "middle_block.1.proj_in.weight", "out.2.weight", "time_embed.0.bias"]
)
def test_a_missing_tensor_is_named(tensors, lost):
    name = {"time_embed.0.bias": "time_embedding.linear_1.bias"}.get(lost, lost)
    with pytest.raises(UserError, match=name.replace(".", r"\.")) as error:
        convert_mvdream_unet({key: tensor for key, tensor in tensors.items() if key != lost})
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("extra", "kind"),
    [
        ("image_embed.proj_in.weight", "ImageDream"),
        ("middle_block.1.transformer_blocks.0.attn2.to_k_ip.weight", "ImageDream"),
        ("label_emb.0.0.weight", "SDXL"),
        ("something.weight", "something"),
    ],
)
def test_a_tensor_that_would_be_lost_is_named(tensors, extra, kind):
    with pytest.raises(UserError, match=kind) as error:
        convert_mvdream_unet(tensors | {extra: torch.zeros(2)})
    assert extra.split(".")[-2] in str(error.value)


@pytest.mark.parametrize(
    ("key", "kind"),
    [
        ("lora_unet_down_blocks_0.lora_up.weight", "LoRA"),
        ("down_blocks.0.resnets.0.conv1.weight", "diffusers folder"),
        ("decoder.up.0.block.0.conv1.weight", "VAE"),
        ("model.diffusion_model.joint_blocks.0.weight", "Stable Diffusion 3"),
    ],
)
def test_another_kind_of_file_is_recognised(key, kind):
    with pytest.raises(UserError, match=f"no input_blocks.0.0.weight.*{kind}"):
        convert_mvdream_unet({key: torch.zeros(2)})


def test_widths_that_do_not_divide_into_heads_are_refused():
    with pytest.raises(UserError, match="96 channels"):
        convert_mvdream_unet(unet_tensors(widths=(64, 96)))


def test_a_wrong_shape_is_named(tensors):
    with pytest.raises(UserError, match=r"time_embedding\.linear_1\.bias is \[3\], expected \[256\]"):
        convert_mvdream_unet(tensors | {"time_embed.0.bias": torch.zeros(3)})
