"""The five parts of a model folder in the diffusers layout, loaded whole or refused by name."""

from pathlib import Path
from typing import Any

from dreamdist3d.backbones.no_camera import stated_no_camera
from dreamdist3d.backbones.supported import check_scheduler, check_unet, check_vae, check_widths
from dreamdist3d.errors import UserError, is_out_of_memory
from dreamdist3d.files import read_json

_MVDREAM_UNET = "MultiViewUNetModel"
PARTS = ("tokenizer", "text_encoder", "vae", "unet", "scheduler")


def parts_of_folder(folder: Path) -> dict[str, Any]:
    """The parts by name, `n_views` and `no_camera`. `safety_checker`, `feature_extractor` and the like are left alone.

    Raises:
        UserError: a part is missing, damaged, incomplete, not in safetensors, or of a kind that is not supported.
    """
    import diffusers
    from transformers import CLIPTextModel, CLIPTokenizer

    check_layout(folder)
    configs = {part: read_json(folder / part / "config.json") for part in ("text_encoder", "vae", "unet")}
    check_vae(configs["vae"], folder / "vae")
    check_unet(configs["unet"], folder / "unet")
    check_widths(configs, folder)
    check_scheduler(read_json(folder / "scheduler" / "scheduler_config.json"), folder / "scheduler")
    vae_class = getattr(diffusers, configs["vae"].get("_class_name", "AutoencoderKL"))
    return {
        "tokenizer": load_part(CLIPTokenizer, folder / "tokenizer"),
        "text_encoder": load_model(CLIPTextModel, folder / "text_encoder"),
        "vae": load_model(vae_class, folder / "vae"),
        "unet": load_model(diffusers.UNet2DConditionModel, folder / "unet"),
        "scheduler": load_part(diffusers.DDPMScheduler, folder / "scheduler"),
        "n_views": _n_views(_index(folder), configs["unet"]),
        "no_camera": stated_no_camera(_index(folder)),
    }


def is_mvdream_folder(folder: Path) -> bool:
    """Whether `folder`'s UNet is of the class `MultiViewUNetModel`, which diffusers does not know."""
    config = Path(folder) / "unet" / "config.json"
    return config.is_file() and read_json(config).get("_class_name") == _MVDREAM_UNET


def check_layout(folder: Path) -> None:
    """Raise a UserError that names the sub-folders a model folder lacks."""
    missing = [part for part in PARTS if not (folder / part).is_dir()]
    if missing:
        raise UserError(
            f"{folder} is not a diffusers model folder: {', '.join(missing)} missing. "
            f"It needs the sub-folders {', '.join(PARTS)}."
        )


def load_model(kind: Any, folder: Path) -> Any:
    """A model from its folder: from safetensors alone, and whole; the libraries would fill gaps with random weights.

    Args:
        kind: a class of diffusers or transformers.
        folder: its configuration and weights, or a variant of them such as fp16 where there is nothing else.

    Raises:
        UserError: weights are missing, damaged or pickled; names the folder.
    """
    options = {"use_safetensors": True, "output_loading_info": True, "variant": _variant(folder)}
    model, report = load_part(kind, folder, **options)
    if missing := sorted(report["missing_keys"]):
        raise UserError(f"{folder} lacks {len(missing)} weights, {missing[0]} among them: restore its safetensors.")
    return model


def _variant(folder: Path) -> str | None:
    """None for the plain weights; the name of a variant, such as fp16, where a folder holds nothing else."""
    names = [path.name for path in sorted(folder.glob("*.safetensors*"))]
    variants = [name.split(".")[1] for name in names if name.count(".") == 2 and not name.endswith(".index.json")]
    return variants[0] if variants and len(variants) == len(names) else None


def load_part(kind: Any, folder: Path, **options: Any) -> Any:
    """`kind.from_pretrained(folder)` without the network.

    Raises:
        UserError: it cannot be loaded; names the folder.
    """
    try:
        return kind.from_pretrained(folder, local_files_only=True, **options)
    except Exception as error:  # each library raises its own kinds on files that are missing or damaged
        if is_out_of_memory(error):  # nothing is wrong with the folder
            raise
        line = " ".join(str(error).split())[:300]
        raise UserError(f"{folder} cannot be loaded: {line} Check that it is whole and in safetensors.") from error


def _index(folder: Path) -> dict[str, Any]:
    path = folder / "model_index.json"
    return read_json(path) if path.is_file() else {}


def _n_views(index: dict[str, Any], unet: dict[str, Any]) -> int:
    """As stated; else 4 for a UNet that takes cameras, as MVDream's does, and 1 for others."""
    return int(index.get("n_views") or (4 if unet.get("class_embed_type") == "projection" else 1))
