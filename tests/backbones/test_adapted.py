"""Backbones that are another one with changed weights: what is changed, and what is refused."""

import json
from pathlib import Path

import pytest
import torch
from diffusers import StableDiffusionPipeline
from safetensors.torch import save_file

from dreamdist3d.backbones import load_backbone
from dreamdist3d.backbones.adapted import lasting_name, write_adapted
from dreamdist3d.errors import UserError

KEYS = "down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k.weight"


def factors(unet, rank=2):
    """Random LoRA factors of two projections, as diffusers names them."""
    generator = torch.Generator().manual_seed(0)
    found = {}
    for name in (KEYS, KEYS.replace("attn2.to_k", "attn1.to_q")):
        out, into = unet.state_dict()[name].shape
        place = f"unet.{name.removesuffix('.weight')}"
        found[f"{place}.lora_A.weight"] = torch.randn(rank, into, generator=generator)
        found[f"{place}.lora_B.weight"] = torch.randn(out, rank, generator=generator)
    return found


@pytest.fixture
def base(tiny_backbone):
    return load_backbone(str(tiny_backbone))


def test_weights_stand_in_place_of_the_bases_and_all_else_is_the_bases(base, tmp_path):
    new = base.unet.state_dict()[KEYS] + 1
    write_adapted(tmp_path / "changed", base, "weights", {KEYS: new})
    changed = load_backbone(str(tmp_path / "changed"))
    for name, value in base.unet.state_dict().items():
        assert torch.equal(changed.unet.state_dict()[name], new if name == KEYS else value)
    assert changed.fingerprint == base.fingerprint and changed.identity != base.identity
    assert (changed.n_views, changed.image_size) == (base.n_views, base.image_size) == (4, 16)
    assert changed.source == str(tmp_path / "changed")
    assert not any(p.requires_grad for p in changed.unet.parameters())


def test_lora_is_merged_as_its_definition_says(base, tmp_path):
    tensors = factors(base.unet)
    write_adapted(tmp_path / "changed", base, "lora", tensors)
    changed = load_backbone(str(tmp_path / "changed"))
    for name, value in base.unet.state_dict().items():
        place = f"unet.{name.removesuffix('.weight')}"
        if f"{place}.lora_A.weight" in tensors:
            up, down = tensors[f"{place}.lora_B.weight"].double(), tensors[f"{place}.lora_A.weight"].double()
            expected = (value.double() + up @ down).float()
            assert torch.allclose(changed.unet.state_dict()[name], expected, atol=1e-6)
            assert not torch.allclose(value, expected, atol=1e-2)
        else:
            assert torch.equal(changed.unet.state_dict()[name], value)
    views = torch.randn(4, 4, 8, 8), torch.full((4,), 300), torch.randn(4, 16, 16), torch.rand(4, 16)
    assert not torch.equal(changed.predict(*views, n_views=4), base.predict(*views, n_views=4))


def test_any_diffusers_pipeline_takes_the_lora_file(base, tmp_path):
    write_adapted(tmp_path / "changed", base, "lora", factors(base.unet))
    changed = load_backbone(str(tmp_path / "changed"))
    parts = {"vae": base.vae, "text_encoder": base.text_encoder, "tokenizer": base.tokenizer}
    pipeline = StableDiffusionPipeline(
        **parts,
        unet=base.unet,
        scheduler=base.scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.load_lora_weights(tmp_path / "changed")
    pipeline.fuse_lora()
    pipeline.unload_lora_weights()
    assert torch.allclose(pipeline.unet.state_dict()[KEYS], changed.unet.state_dict()[KEYS], atol=1e-6)


def test_a_changed_miniature_names_the_miniature(tmp_path):
    mini = load_backbone("mini")
    name = next(name for name in mini.unet.state_dict() if name.endswith("attn2.to_v.weight"))
    write_adapted(tmp_path / "changed", mini, "weights", {name: mini.unet.state_dict()[name]})
    assert json.loads((tmp_path / "changed" / "adapted.json").read_text())["base"] == lasting_name(mini) == "mini"
    assert load_backbone(str(tmp_path / "changed")).identity == mini.identity


def replaced(folder: Path, **values):
    record = json.loads((folder / "adapted.json").read_text())
    (folder / "adapted.json").write_text(json.dumps(record | values))


@pytest.mark.parametrize(
    "spoil,said",
    [
        (lambda folder: (folder / "unet.safetensors").unlink(), "does not fit"),
        (lambda folder: (folder / "unet.safetensors").write_bytes(b"x" * 20), "does not fit"),
        (lambda folder: save_file({"nothing": torch.zeros(2)}, folder / "unet.safetensors"), r"no nothing \[2\]"),
        (lambda folder: save_file({KEYS: torch.zeros(2)}, folder / "unet.safetensors"), r"to_k.weight \[2\]"),
        (lambda folder: replaced(folder, kind="lora"), "does not fit"),
        (lambda folder: replaced(folder, kind="hope"), "adapted.json"),
        (lambda folder: replaced(folder, format="dreamdist3d-adapted-9"), "does not know it"),
        (lambda folder: replaced(folder, base_sha256="0" * 64), "changes another model"),
        (lambda folder: replaced(folder, base=str(folder)), "itself a changed backbone"),
        (lambda folder: replaced(folder, base="/nowhere"), "neither one of"),
        (lambda folder: (folder / "adapted.json").write_text("{"), "cannot be read as JSON"),
    ],
)
def test_what_does_not_fit_is_one_line(base, tmp_path, spoil, said):
    folder = tmp_path / "changed"
    write_adapted(folder, base, "weights", {KEYS: base.unet.state_dict()[KEYS]})
    spoil(folder)
    with pytest.raises(UserError, match=said) as caught:
        load_backbone(str(folder))
    assert "\n" not in str(caught.value)


def test_factors_for_another_unet_are_refused_not_passed_over(base, tmp_path):
    place = "unet.mid_block.attentions.7.to_q.lora_A.weight"
    write_adapted(tmp_path / "changed", base, "lora", {place: torch.zeros(2, 8)})
    with pytest.raises(UserError, match="has no place for unet.mid_block.attentions.7"):
        load_backbone(str(tmp_path / "changed"))
