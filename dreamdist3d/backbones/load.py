"""From a name, a folder or a checkpoint file to a frozen `Backbone`."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from dreamdist3d.backbones.adapted import adapt, is_adapted, read_adapted
from dreamdist3d.backbones.backbone import Backbone
from dreamdist3d.backbones.find import find
from dreamdist3d.backbones.hub import Found
from dreamdist3d.backbones.identity import fingerprint_of
from dreamdist3d.backbones.joint_attention import install_joint_attention
from dreamdist3d.backbones.no_camera import NoCamera, leave_out_missing_cameras
from dreamdist3d.backbones.parts import PARTS, is_mvdream_folder, parts_of_folder
from dreamdist3d.backbones.precision import set_precision
from dreamdist3d.errors import UserError
from dreamdist3d.quiet import quiet_loading


def load_backbone(name_or_path: str, device: str = "cpu", dtype: torch.dtype = torch.float32) -> Backbone:
    """Load a backbone, frozen and in eval mode.

    Args:
        name_or_path: "mini" (packaged), a name of the catalogue, such as "mvdream" (from the hub's cache, else
            downloaded), a local folder in the diffusers layout or with changes to another backbone (`adapted`), or an
            original Stable Diffusion or MVDream file.
        device: a torch device.
        dtype: of the UNet, and of the autoencoder where that is safe (`set_precision`).

    Raises:
        UserError: nothing is found, or it lacks a part or is of an unsupported kind; says what to do.
    """
    found = find(name_or_path)
    if is_adapted(found.path):
        return set_precision(_adapted(name_or_path, found, device), dtype)
    with quiet_loading():
        parts, no_camera = _parts(found.path)
        for module in (parts["text_encoder"], parts["vae"], parts["unet"]):
            module.to(device, torch.float32).eval().requires_grad_(False)
    if parts["unet"].config.class_embed_type == "projection":
        install_joint_attention(parts["unet"], parts["n_views"])
        if no_camera == "omitted":
            leave_out_missing_cameras(parts["unet"])
    backbone = Backbone(
        name=name_or_path,
        source=found.origin,
        image_size=parts["unet"].config.sample_size * _downsampling(parts["vae"]),
        fingerprint=fingerprint_of(parts["tokenizer"], parts["text_encoder"]),
        device=torch.device(device),
        dtype=torch.float32,
        **parts,
    )
    return set_precision(backbone, dtype)


def _adapted(name: str, found: Found, device: str) -> Backbone:
    record = read_adapted(found.path)
    if is_adapted(find(record.base).path):
        raise UserError(
            f"{found.path} changes {record.base}, which is itself a changed backbone: make it of a whole one."
        )
    base = load_backbone(record.base, device)
    with quiet_loading():
        adapt(base, found.path, record)
    return replace(base, name=name, source=found.origin, _identity=None)


def _parts(path: Path) -> tuple[dict[str, Any], NoCamera]:
    if path.is_dir() and not is_mvdream_folder(path):
        parts = parts_of_folder(path)
    else:
        from dreamdist3d.backbones.convert import parts_of_checkpoint, parts_of_mvdream_folder

        parts = parts_of_checkpoint(path) if path.is_file() else parts_of_mvdream_folder(path)
    return {name: parts[name] for name in (*PARTS, "n_views")}, parts.get("no_camera", "omitted")


def _downsampling(vae: Any) -> int:
    channels = getattr(vae.config, "block_out_channels", None) or vae.config.encoder_block_out_channels
    return 2 ** (len(channels) - 1)
