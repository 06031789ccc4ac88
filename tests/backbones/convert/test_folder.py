"""The folder layout of ashawkey/mvdream-sd2.1-diffusers."""

import shutil

import pytest
import torch

from dreamdist3d.backbones import convert_checkpoint, load_backbone
from dreamdist3d.backbones.convert import parts_of_mvdream_folder
from dreamdist3d.backbones.convert.checkpoint import original_scheduler
from dreamdist3d.backbones.parts import is_mvdream_folder
from dreamdist3d.errors import UserError
from tests.backbones.convert.original import UNET
from tests.backbones.convert.plain import PlainUNet


@pytest.mark.parametrize("ending", ["safetensors", "bin"])
def test_a_folder_with_the_peers_unet_converts(peer_folder, multi_view, given, tmp_path, ending):
    source = shutil.copytree(peer_folder, tmp_path / "source")
    if ending == "bin":
        (source / "unet/diffusion_pytorch_model.safetensors").unlink()
        unet = {name[len(UNET) :]: tensor.half() for name, tensor in multi_view.items() if name.startswith(UNET)}
        torch.save(unet, source / "unet/diffusion_pytorch_model.bin")
    assert is_mvdream_folder(source)
    parts = parts_of_mvdream_folder(source)
    assert {weight.dtype for weight in parts["unet"].parameters()} == {torch.float32}
    assert torch.allclose(parts["scheduler"].alphas_cumprod, original_scheduler("epsilon").alphas_cumprod)
    folder = convert_checkpoint(source, tmp_path / "out")
    assert not is_mvdream_folder(folder)
    found = load_backbone(str(folder)).predict(*given, n_views=4)
    assert torch.equal(found, load_backbone(str(source)).predict(*given, n_views=4))
    halves = {name[len(UNET) :]: value.half().float() for name, value in multi_view.items() if name.startswith(UNET)}
    torch.testing.assert_close(found, PlainUNet(halves, 4)(*given), atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("lost", "message"),
    [
        ("vae/diffusion_pytorch_model.safetensors", "vae cannot be loaded"),
        ("unet/diffusion_pytorch_model.safetensors", "unet has no weights"),
        ("tokenizer", "tokenizer missing"),
    ],
)
def test_a_folder_that_lacks_something_says_what(peer_folder, tmp_path, lost, message):
    source = shutil.copytree(peer_folder, tmp_path / "source")
    shutil.rmtree(source / lost) if (source / lost).is_dir() else (source / lost).unlink()
    with pytest.raises(UserError, match=message) as error:
        parts_of_mvdream_folder(source)
    assert "\n" not in str(error.value)
