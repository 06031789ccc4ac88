"""Which models the road can use, told from their configurations before a weight is read."""

from pathlib import Path
from typing import Any

from dreamdist3d.errors import UserError

_WORKS = "Stable Diffusion 1.x and 2.x (text to image) and MVDream work"
_CAMERA_NUMBERS = 16


def check_unet(config: dict[str, Any], folder: Path) -> None:
    """Refuse UNets that need more than latents, time, text and MVDream's cameras.

    Raises:
        UserError: names the configuration, the reason, and what works.
    """
    reason = None
    kind = config.get("_class_name", "UNet2DConditionModel")
    channels = config.get("in_channels", 4), config.get("out_channels", 4)
    embedding = config.get("class_embed_type")
    cameras = config.get("projection_class_embeddings_input_dim")
    if kind != "UNet2DConditionModel":
        reason = f"UNet class {kind!r}"
    elif config.get("addition_embed_type") or config.get("encoder_hid_dim_type"):
        reason = "a UNet with added conditions, such as Stable Diffusion XL's,"
    elif channels[0] != channels[1]:
        reason = f"a UNet of {channels[0]} input channels for {channels[1]} of latents, for inpainting, depth or edits,"
    elif config.get("num_class_embeds") or embedding not in (None, "projection"):
        reason = "a UNet with class labels, such as an upscaler's,"
    elif embedding == "projection" and cameras != _CAMERA_NUMBERS:
        reason = f"a UNet with {cameras} extra numbers, where MVDream's cameras are {_CAMERA_NUMBERS},"
    if reason:
        raise UserError(f"{folder / 'config.json'}: {reason} is not supported; {_WORKS}.")


def check_vae(config: dict[str, Any], folder: Path) -> None:
    """Refuse autoencoders other than Stable Diffusion's and its tiny stand-in.

    Raises:
        UserError: names the configuration and the class.
    """
    kind = config.get("_class_name", "AutoencoderKL")
    if kind not in ("AutoencoderKL", "AutoencoderTiny"):
        raise UserError(f"{folder / 'config.json'}: autoencoder class {kind!r} is not supported; {_WORKS}.")


def check_scheduler(config: dict[str, Any], folder: Path) -> None:
    """Refuse noise schedules that are not betas, and predictions other than noise and velocity.

    Raises:
        UserError: names the configuration and the value.
    """
    path = folder / "scheduler_config.json"
    if "beta_schedule" not in config:
        raise UserError(f"{path}: {config.get('_class_name', 'a scheduler')} without betas is not supported; {_WORKS}.")
    if (predicts := config.get("prediction_type", "epsilon")) not in ("epsilon", "v_prediction"):
        raise UserError(f"{path}: prediction_type {predicts!r} is not supported: epsilon or v_prediction.")


def check_widths(configs: dict[str, dict[str, Any]], folder: Path) -> None:
    """Refuse a text encoder and a UNet that do not belong together.

    Raises:
        UserError: names the folder and both widths.
    """
    given, taken = configs["text_encoder"].get("hidden_size"), configs["unet"].get("cross_attention_dim")
    if None not in (given, taken) and given != taken:
        raise UserError(f"{folder}: the text encoder gives {given} channels, the UNet takes {taken}; {_WORKS}.")
