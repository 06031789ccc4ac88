"""Converted text towers against open_clip's own transformer and transformers' own model."""

import open_clip
import pytest
import torch
from transformers import CLIPTextConfig, CLIPTextModel

from dreamdist3d.backbones.convert.text import CLIP_PREFIX, OPEN_CLIP_PREFIX, convert_text_encoder
from dreamdist3d.errors import UserError
from tests.backbones.convert.original import LENGTH, open_clip_checkpoint, open_clip_model, randomised

TEXTS = ["a photo of a cat", "an astronaut riding a horse on mars, 3d asset!", ""]


@torch.no_grad()
def penultimate(model, ids):
    """What Stable Diffusion 2.x reads: all layers but the last, then the final norm."""
    hidden = model.token_embedding(ids) + model.positional_embedding
    batch_first = getattr(model.transformer, "batch_first", False)
    hidden = hidden if batch_first else hidden.transpose(0, 1)
    for block in model.transformer.resblocks[:-1]:
        hidden = block(hidden, attn_mask=model.attn_mask)
    return model.ln_final(hidden if batch_first else hidden.transpose(0, 1))


@pytest.mark.parametrize(("width", "heads", "layers"), [(128, 2, 4), (64, 1, 2)])
def test_equals_open_clips_last_layer_but_one(width, heads, layers):
    model, ids = open_clip_model(width, heads, layers), open_clip.tokenize(TEXTS)
    converted = convert_text_encoder(open_clip_checkpoint(model), pad_id=0)
    expected = penultimate(model, ids)
    torch.testing.assert_close(converted(input_ids=ids)[0], expected, atol=1e-5, rtol=1e-5)
    with torch.no_grad():
        hidden = model.encode_text(ids)
    assert converted.config.num_hidden_layers == layers - 1 and hidden.shape == (3, 48)
    # The pooled feature is the one at the end mark, wherever the padding begins.
    torch.testing.assert_close(converted(input_ids=ids)[1], expected[torch.arange(3), ids.argmax(1)], atol=1e-5, rtol=0)


@pytest.mark.parametrize("level", ["text_model.", ""])
def test_clip_of_stable_diffusion_1_converts_with_and_without_its_level(level):
    config = CLIPTextConfig(
        vocab_size=60, hidden_size=128, intermediate_size=200, num_hidden_layers=3, num_attention_heads=2
    )
    original = randomised(CLIPTextModel(config))
    checkpoint = {
        f"{CLIP_PREFIX}{level}{name.removeprefix('text_model.')}": tensor
        for name, tensor in original.state_dict().items()
    }
    checkpoint[f"{CLIP_PREFIX}{level}embeddings.position_ids"] = torch.arange(LENGTH)[None]
    converted = convert_text_encoder(checkpoint, pad_id=59)
    ids = torch.randint(60, (2, LENGTH), generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(converted(input_ids=ids)[0], original(input_ids=ids)[0])
    assert converted.config.hidden_act == "quick_gelu" and converted.config.pad_token_id == 59


def test_a_tower_whose_last_layer_is_gone_already_is_taken_whole():
    # Stable Diffusion 2.x exported from diffusers: 23 of ViT-H's 24 layers.
    whole = open_clip_checkpoint(open_clip_model(64, 1, 24))
    cut = {name: tensor for name, tensor in whole.items() if "resblocks.23." not in name}
    expected, found = (convert_text_encoder(tensors, 0).state_dict() for tensors in (whole, cut))
    assert expected.keys() == found.keys() and all(torch.equal(expected[name], found[name]) for name in found)


def test_half_precision_becomes_what_was_asked():
    halves = {name: tensor.half() for name, tensor in open_clip_checkpoint(open_clip_model(64, 1, 2)).items()}
    for dtype in (torch.float32, torch.float16):
        assert {weight.dtype for weight in convert_text_encoder(halves, 0, dtype).parameters()} == {dtype}


def test_a_missing_weight_is_named():
    checkpoint = open_clip_checkpoint(open_clip_model(64, 1, 2))
    del checkpoint[f"{OPEN_CLIP_PREFIX}ln_final.bias"]
    with pytest.raises(UserError, match=r"text encoder lacks .*final_layer_norm\.bias"):
        convert_text_encoder(checkpoint, 0)
