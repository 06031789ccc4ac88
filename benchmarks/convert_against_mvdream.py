"""Converted weights against the original network: largest differences on random weights of several widths.

git clone https://github.com/bytedance/MVDream && pip install einops
python benchmarks/convert_against_mvdream.py --mvdream MVDream
"""

import contextlib
import importlib
import io
import json
import sys
import types
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import tyro
from torch import Tensor, nn

from dreamdist3d.backbones import convert_mvdream_unet
from dreamdist3d.backbones.convert.autoencoder import PREFIX, convert_autoencoder

_OBJECTS, _WORDS = 2, 7


@dataclass(frozen=True)
class Case:
    """One architecture of the original UNet. `heads` 0 is heads of 64 channels and linear projections (SD 2.x)."""

    width: int
    multipliers: tuple[int, ...]
    attention: tuple[int, ...]  # downsamplings at which there is attention
    blocks: int = 1
    context: int = 48
    heads: int = 0
    size: int = 16  # latent pixels
    views: int = 4
    camera: bool = True


CASES = (
    Case(32, (1, 2, 4), (2, 4), blocks=2),
    Case(64, (1, 2), (1,)),
    Case(64, (1, 2), (1, 2), views=1),
    Case(64, (1, 2, 3), (1, 2), blocks=2, views=2),
    Case(64, (1, 1), (1, 2), camera=False, views=1),
    Case(128, (1, 2, 2), (1, 2, 4), context=96),
    Case(32, (1, 2, 4), (1, 2), heads=8),
    Case(320, (1, 2, 4, 4), (1, 2, 4), blocks=2, context=1024),  # sd-v2.1-base-4view
    Case(320, (1, 2, 4, 4), (1, 2, 4), blocks=2, context=768, heads=8),  # sd-v1.5-4view
)


def main(mvdream: Path, full_size: bool = True) -> None:
    """Compare with the checkout in `mvdream`; `full_size=False` leaves out the UNets of the published models."""
    torch.manual_seed(0)
    _enter(mvdream.resolve())
    for case in CASES:
        if case.width < 320 or full_size:
            print(json.dumps({"unet": vars(case), **unet_difference(case)}), flush=True)
    for width, multipliers, blocks in ((32, (1, 2), 1), (32, (1, 2, 4, 4), 2), (64, (1, 2, 2), 2)):
        figures = autoencoder_difference(width, multipliers, blocks)
        print(json.dumps({"autoencoder": width, "multipliers": multipliers, "blocks": blocks, **figures}), flush=True)


def unet_difference(case: Case) -> dict[str, float]:
    """Largest absolute difference of the outputs, and the largest output."""
    from mvdream.ldm.modules.diffusionmodules.openaimodel import MultiViewUNetModel

    heads = {"num_heads": case.heads} if case.heads else {"num_head_channels": 64, "use_linear_in_transformer": True}
    original = randomised(
        quietly(
            MultiViewUNetModel,
            image_size=case.size,
            in_channels=4,
            out_channels=4,
            model_channels=case.width,
            attention_resolutions=case.attention,
            num_res_blocks=case.blocks,
            channel_mult=case.multipliers,
            use_spatial_transformer=True,
            transformer_depth=1,
            context_dim=case.context,
            use_checkpoint=False,
            legacy=False,
            camera_dim=16 if case.camera else None,
            **heads,
        )
    )
    converted = convert_mvdream_unet(original.state_dict(), n_views=case.views)
    generator = torch.Generator().manual_seed(1)
    count = _OBJECTS * case.views
    latents = torch.randn(count, 4, case.size, case.size, generator=generator)
    times = torch.randint(1000, (_OBJECTS,), generator=generator).repeat_interleave(case.views)
    text = torch.randn(count, _WORDS, case.context, generator=generator)
    cameras = torch.randn(count, 16, generator=generator) if case.camera else None
    with torch.no_grad():
        expected = original(latents, times, context=text, camera=cameras, num_frames=case.views)
        found = converted(latents, times, encoder_hidden_states=text, class_labels=cameras).sample
        figures = difference(found, expected)
        if cameras is not None:
            # No camera: the original leaves its embedding out, ours knows a row of zeros by what it is.
            bare = original(latents, times, context=text, camera=None, num_frames=case.views)
            labels = torch.zeros_like(cameras)
            found = converted(latents, times, encoder_hidden_states=text, class_labels=labels).sample
            figures |= {f"{name}_without_camera": value for name, value in difference(found, bare).items()}
    return figures


def autoencoder_difference(width: int, multipliers: tuple[int, ...], blocks: int) -> dict[str, float]:
    """Largest absolute difference of the posterior's moments and of the decoded picture."""
    from mvdream.ldm.models.autoencoder import AutoencoderKL

    settings = {
        "double_z": True,
        "z_channels": 4,
        "resolution": 32,
        "in_channels": 3,
        "out_ch": 3,
        "ch": width,
        "ch_mult": multipliers,
        "num_res_blocks": blocks,
        "attn_resolutions": [],
    }
    original = randomised(
        quietly(AutoencoderKL, ddconfig=settings, lossconfig={"target": "torch.nn.Identity"}, embed_dim=4)
    )
    converted = convert_autoencoder({PREFIX + name: tensor for name, tensor in original.state_dict().items()})
    generator = torch.Generator().manual_seed(2)
    pixels = torch.rand(2, 3, 32, 32, generator=generator) * 2 - 1
    with torch.no_grad():
        posterior = original.encode(pixels)
        moments = difference(converted.encode(pixels).latent_dist.parameters, posterior.parameters)
        decoded = difference(converted.decode(posterior.mode()).sample, original.decode(posterior.mode()))
    return {f"{name}_encoded": value for name, value in moments.items()} | {
        f"{name}_decoded": value for name, value in decoded.items()
    }


def difference(found: Tensor, expected: Tensor) -> dict[str, float]:
    """Largest absolute difference and largest value."""
    return {"difference": float((found - expected).abs().max()), "largest": float(expected.abs().max())}


def randomised(model: nn.Module) -> nn.Module:
    """Gaussian weights that keep activations near one; as made, the last layers are zeros and would hide errors."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in model.parameters():
            noise = torch.randn(weight.shape, generator=generator)
            weight.copy_(noise / weight[0].numel() ** 0.5 if weight.ndim > 1 else weight + 0.1 * noise)
    return model.eval()


def quietly(build: Callable[..., Any], **arguments: Any) -> Any:
    """The original prints what it imports and builds."""
    with contextlib.redirect_stdout(io.StringIO()):
        return build(**arguments)


def _enter(checkout: Path) -> None:
    if not (checkout / "mvdream/ldm").is_dir():
        raise SystemExit(f"{checkout} is no checkout of bytedance/MVDream.")
    # Its package imports a downloader and setuptools' pkg_resources, which the network itself does not need.
    package = types.ModuleType("mvdream")
    package.__path__ = [str(checkout / "mvdream")]
    sys.modules["mvdream"] = package
    quietly(importlib.import_module, name="mvdream.ldm.models.autoencoder")


if __name__ == "__main__":
    tyro.cli(main)
