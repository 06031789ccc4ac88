"""The nodes over stand-ins for ComfyUI's parts."""

import shutil
import sys
from importlib.util import module_from_spec, spec_from_file_location
from types import ModuleType, SimpleNamespace

import pytest
import torch
from transformers import CLIPTextModel, CLIPTokenizer

from dreamdist3d.backbones import load_backbone
from dreamdist3d.comfyui.distributions import mixed, told
from dreamdist3d.comfyui.encoder import ClipEncoder
from dreamdist3d.comfyui.install import extension_folder
from dreamdist3d.errors import UserError
from dreamdist3d.prompts import FixedMoments, PromptComposition, PromptDistribution, SoftPromptEncoder
from tests.comfyui import standins
from tests.prompts.tiny import WIDTH


@pytest.fixture
def nodes(tmp_path, monkeypatch, tiny_distribution) -> ModuleType:
    """The extension, loaded as ComfyUI loads it, with one distribution in its folder."""
    folder = tmp_path / "models" / "prompt_distributions"
    folder.mkdir(parents=True)
    shutil.copy(tiny_distribution, folder / "cats.safetensors")
    monkeypatch.setitem(sys.modules, "folder_paths", standins.folder_paths(tmp_path / "models"))
    name = "comfyui-dreamdist3d"
    spec = spec_from_file_location(name, extension_folder() / "__init__.py")
    module = module_from_spec(spec)
    monkeypatch.setitem(sys.modules, name, module)
    spec.loader.exec_module(module)
    yield module
    sys.modules.pop(f"{name}.nodes", None)


@pytest.fixture
def clip(tiny_backbone):
    model = CLIPTextModel.from_pretrained(tiny_backbone / "text_encoder").eval().requires_grad_(False)
    return standins.clip(model, CLIPTokenizer.from_pretrained(tiny_backbone / "tokenizer"))


@pytest.fixture(scope="module")
def encoder(tiny_backbone):
    backbone = load_backbone(str(tiny_backbone))
    return SoftPromptEncoder(backbone.tokenizer, backbone.text_encoder)


@pytest.fixture(scope="module")
def learned(tiny_distribution):
    return PromptDistribution.load(tiny_distribution)


def node(nodes, name):
    kind = nodes.NODE_CLASS_MAPPINGS[name]
    return getattr(kind(), kind.FUNCTION)


def drawn(nodes, clip, source, **changes):
    given = {"seed": 7, "gamma": 1.5, "count": 2, "first": 0, **changes}
    ((conditioning, facts),) = node(nodes, "DreamdistDraw")(source, clip, **given)[0]
    assert facts == {}
    return conditioning


def test_every_node_has_a_name_inputs_and_a_function(nodes):
    assert nodes.NODE_CLASS_MAPPINGS.keys() == nodes.NODE_DISPLAY_NAME_MAPPINGS.keys()
    for kind in nodes.NODE_CLASS_MAPPINGS.values():
        assert callable(getattr(kind, kind.FUNCTION)) and kind.INPUT_TYPES()["required"] and kind.RETURN_TYPES
    assert nodes.NODE_CLASS_MAPPINGS["DreamdistLoad"].INPUT_TYPES()["required"]["file"][0] == ["cats.safetensors"]


def test_a_file_is_read_and_read_again_when_it_changes(nodes, learned):
    load = nodes.NODE_CLASS_MAPPINGS["DreamdistLoad"]
    (found,) = load().load("cats.safetensors")
    assert found.content_hash == learned.content_hash
    assert load.IS_CHANGED("cats.safetensors") > 0
    with pytest.raises(FileNotFoundError):
        load().load("../cats.safetensors")


@pytest.mark.parametrize("words", [{}, {"prefix": "a photo of", "suffix": "at night"}])
def test_draws_are_the_library_s_one_after_the_other(nodes, clip, learned, encoder, words):
    found = drawn(nodes, clip, learned, **words)
    for number in range(2):
        expected = learned.embed(learned.draw(7 + number, 1.5, *(words.get(k) for k in ("prefix", "suffix"))), encoder)
        torch.testing.assert_close(found[number], expected, atol=1e-5, rtol=0)


def test_an_item_of_a_batch_can_be_drawn_alone(nodes, clip, learned):
    torch.testing.assert_close(drawn(nodes, clip, learned, count=3)[2:], drawn(nodes, clip, learned, first=2, count=1))


def test_seeds_go_round(nodes, clip, learned):
    last = drawn(nodes, clip, learned, seed=2**32 - 1, count=2)
    torch.testing.assert_close(last[1:], drawn(nodes, clip, learned, seed=0, count=1))


def test_another_text_encoder_is_refused_whatever_lora_is_on_it(nodes, clip, learned):
    weight = clip.cond_stage_model.clip_l.transformer.text_model.final_layer_norm.weight
    before = weight.clone()
    with torch.no_grad():
        weight.add_(1.0)
    with pytest.raises(UserError, match="another text encoder"):
        drawn(nodes, clip, learned)
    name = "clip_l.transformer.text_model.final_layer_norm.weight"
    clip.patcher.backup = {name: SimpleNamespace(weight=before)}  # a LoRA, as ComfyUI keeps what was there
    assert drawn(nodes, clip, learned).shape[0] == 2
    clip.patcher.backup = {name: before}
    assert drawn(nodes, clip, learned).shape[0] == 2


def test_what_has_no_single_encoder_or_another_layer_is_refused(nodes, clip, learned):
    clip.layer_idx = -2
    with pytest.raises(UserError, match="CLIP Set Last Layer"):
        drawn(nodes, clip, learned)
    clip.cond_stage_model = SimpleNamespace()
    with pytest.raises(UserError, match="not Stable Diffusion 1.x"):
        drawn(nodes, clip, learned)


def test_of_a_2_x_encoder_the_last_layer_does_not_count(tiny_backbone, learned):
    """There ComfyUI keeps a layer more than it uses."""
    model = CLIPTextModel.from_pretrained(tiny_backbone / "text_encoder").eval()
    clip = standins.clip(model, CLIPTokenizer.from_pretrained(tiny_backbone / "tokenizer"), "h")
    side = clip.cond_stage_model.clip_h
    side.transformer.text_model.encoder.layers.append(torch.nn.Linear(1, 1))
    with pytest.raises(UserError, match="another text encoder"):
        ClipEncoder(clip).check(learned)
    side.layer, side.num_layers = "hidden", side.num_layers + 1
    ClipEncoder(clip).check(learned)


def test_mixes_chain(nodes, learned):
    other = PromptDistribution(learned.tokens + 1, "low_rank", learned.encoder_fingerprint)
    third = PromptDistribution(learned.tokens - 1, "low_rank", learned.encoder_fingerprint)
    mix = node(nodes, "DreamdistMix")
    (pair,) = mix(other, third, 0.25, "blend")
    (whole,) = mix(learned, pair, 0.5, "blend")
    assert whole.weights == pytest.approx((0.5, 0.125, 0.375)) and whole.components == (learned, other, third)
    with pytest.raises(UserError, match="a mixture is made of"):
        mixed(pair, learned, 0.5, "mixture")
    moments = FixedMoments(torch.zeros(16, WIDTH), torch.zeros(16, WIDTH), learned.encoder_fingerprint)
    with pytest.raises(UserError, match="a blend is made of"):
        mixed(moments, learned, 0.5, "blend")


def test_inspect_tells_of_every_kind(nodes, clip, learned, encoder):
    found = node(nodes, "DreamdistInspect")(learned, clip)
    (text,) = found["result"]
    assert found["ui"]["text"] == [text] and "3 prompts of 2 tokens" in text and "nearest words" in text
    assert told(PromptComposition((learned, learned)), encoder).count("nearest words") == 2
    moments = FixedMoments(torch.zeros(16, WIDTH), torch.zeros(16, WIDTH), learned.encoder_fingerprint)
    assert "moments alone" in told(moments, encoder)


def test_a_space_takes_stored_words_away_and_nothing_keeps_them(nodes, clip, learned, encoder):
    worded = PromptDistribution(learned.tokens, "low_rank", learned.encoder_fingerprint, "a photo of", "at night")
    plain = worded.embed(worded.draw(7, 1.5, "", ""), encoder)
    torch.testing.assert_close(drawn(nodes, clip, worded, count=1, prefix=" ", suffix=" ")[0], plain, atol=1e-5, rtol=0)
    kept = worded.embed(worded.draw(7, 1.5), encoder)
    torch.testing.assert_close(drawn(nodes, clip, worded, count=1)[0], kept, atol=1e-5, rtol=0)
    assert (plain - kept).abs().max() > 1e-2
