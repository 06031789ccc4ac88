"""Checkpoint files in the original layout: what is read, and what is refused in which words."""

import re

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from dreamdist3d.backbones import convert_checkpoint
from dreamdist3d.backbones.convert import parts_of_checkpoint
from dreamdist3d.errors import UserError
from tests.backbones.convert.original import TEXT, UNET, VAE


@pytest.mark.parametrize(
    ("name", "save"),
    [
        ("wrapped.ckpt", lambda tensors, path: torch.save({"state_dict": tensors, "global_step": 5}, path)),
        ("old.ckpt", lambda tensors, path: torch.save(tensors, path, _use_new_zipfile_serialization=False)),
        ("plain.safetensors", lambda tensors, path: save_file(tensors, path)),
    ],
)
def test_every_kind_of_file_is_read(multi_view, tmp_path, name, save):
    save(multi_view, tmp_path / name)
    parts = parts_of_checkpoint(tmp_path / name)
    expected = multi_view[f"{UNET}input_blocks.0.0.weight"]
    assert torch.equal(parts["unet"].conv_in.weight, expected) and parts["n_views"] == 4


def test_half_precision_files_become_float32_unless_told_otherwise(multi_view, tmp_path):
    halves = {name: tensor.half() for name, tensor in multi_view.items()}
    save_file(halves, tmp_path / "half.safetensors")
    for options, dtype in (({}, torch.float32), ({"dtype": torch.float16}, torch.float16)):
        parts = parts_of_checkpoint(tmp_path / "half.safetensors", **options)
        models = (parts[name] for name in ("unet", "vae", "text_encoder"))
        assert {weight.dtype for model in models for weight in model.parameters()} == {dtype}
    folder = convert_checkpoint(tmp_path / "half.safetensors", tmp_path / "out", half=True)
    for path in folder.rglob("*.safetensors"):
        with safe_open(path, "pt") as file:
            assert {file.get_tensor(name).dtype for name in file.keys()} == {torch.float16}  # noqa: SIM118
    assert len(list(folder.rglob("*.safetensors"))) == 3


def test_v_prediction_is_768_pixels_at_eightfold_downsampling(multi_view, tmp_path):
    plain = {name: tensor for name, tensor in multi_view.items() if "camera_embed" not in name}
    save_file(plain, tmp_path / "v.safetensors")
    parts = parts_of_checkpoint(tmp_path / "v.safetensors", prediction_type="v_prediction")
    assert parts["scheduler"].config.prediction_type == "v_prediction"
    assert parts["unet"].config.sample_size == 96 and parts["n_views"] == 1
    with pytest.raises(UserError, match="'x' is not one of epsilon, v_prediction"):
        parts_of_checkpoint(tmp_path / "v.safetensors", prediction_type="x")


def refusal(path):
    with pytest.raises(UserError) as error:
        parts_of_checkpoint(path)
    assert str(path) in str(error.value) and "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    ("kept", "message"),
    [
        (lambda name: name.startswith(VAE), "no UNet .* autoencoder"),
        (lambda name: name.startswith(UNET), "no autoencoder .* UNet alone"),
        (lambda name: name.startswith(TEXT), "no UNet .* OpenCLIP text encoder alone"),
        (lambda name: not name.startswith(TEXT), "no text encoder"),
        (lambda name: "middle_block.0.in_layers.0" not in name, r"the UNet lacks mid_block\.resnets\.0\.norm1\.weight"),
        (lambda name: "decoder.mid.block_1.conv1" not in name, r"autoencoder lacks decoder\.mid_block.*conv1\.weight"),
        (lambda name: "resblocks.1.ln_1" not in name, r"text encoder lacks .*encoder\.layers\.1\.layer_norm1\.weight"),
    ],
)  # fmt: skip
def test_what_is_missing_is_named(multi_view, tmp_path, kept, message):
    save_file({name: tensor for name, tensor in multi_view.items() if kept(name)}, tmp_path / "x.safetensors")
    assert re.search(message, refusal(tmp_path / "x.safetensors"))


def test_inpainting_models_and_other_schedules_are_refused(multi_view, tmp_path):
    first = f"{UNET}input_blocks.0.0.weight"
    save_file(multi_view | {first: torch.zeros(64, 9, 3, 3)}, tmp_path / "inpainting.safetensors")
    assert "inpainting" in refusal(tmp_path / "inpainting.safetensors")
    linear = torch.linspace(1e-4, 0.02, 1000)
    save_file(multi_view | {"alphas_cumprod": (1 - linear).cumprod(0)}, tmp_path / "linear.safetensors")
    assert "noise schedule" in refusal(tmp_path / "linear.safetensors")


class Trap:
    def __reduce__(self):
        return (print, ("a pickle ran code",))


def test_nothing_in_a_file_is_run(tmp_path, capsys):
    torch.save({"state_dict": {}, "callbacks": Trap()}, tmp_path / "trap.ckpt")
    assert "could run code" in refusal(tmp_path / "trap.ckpt") and not capsys.readouterr().out


def test_files_that_cannot_be_read_are_named(checkpoint, tmp_path):
    assert "is not a file" in refusal(tmp_path / "nowhere.ckpt")
    (tmp_path / "cut.pt").write_bytes(checkpoint.read_bytes()[:5000])
    refusal(tmp_path / "cut.pt")
    (tmp_path / "pointer.safetensors").write_text("version https://git-lfs.github.com/spec/v1\n")
    assert "cannot be read" in refusal(tmp_path / "pointer.safetensors")
    torch.save([], tmp_path / "empty.pt")
    assert "no tensors" in refusal(tmp_path / "empty.pt")
