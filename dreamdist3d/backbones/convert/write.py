"""An original checkpoint written as a plain diffusers folder."""

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import torch
from diffusers import StableDiffusionPipeline
from safetensors import SafetensorError

from dreamdist3d.backbones.convert.checkpoint import parts_of_checkpoint
from dreamdist3d.backbones.convert.folder import parts_of_mvdream_folder
from dreamdist3d.backbones.convert.tokenizer import save_tokenizer
from dreamdist3d.backbones.parts import is_mvdream_folder
from dreamdist3d.errors import UserError
from dreamdist3d.files import ensure_folder, read_json, write_json
from dreamdist3d.quiet import quiet_loading

# In model_index.json of what was written here; diffusers passes over names with an underscore.
_MARK = "_converted_from"


def convert_checkpoint(
    src: Path,
    dst: Path,
    half: bool = False,
    n_views: int = 4,
    prediction_type: str = "epsilon",
) -> Path:
    """Write `src` as a folder that any diffusers opens, safetensors only; returns `dst`.

    The folder appears whole or not at all. `model_index.json` names `n_views` of a multi-view model, whose
    UNet needs `class_labels` and joint attention: `load_backbone(dst)` brings both.

    Args:
        src: an original checkpoint file, or a folder in the layout of ashawkey/mvdream-sd2.1-diffusers.
        dst: a folder that is new, empty, or an earlier conversion, which is replaced.
        half: float16 weights instead of float32.
        n_views: views that a multi-view UNet denoises together.
        prediction_type: "epsilon" or "v_prediction" (SD 2.x at 768 pixels); only for checkpoint files.

    Raises:
        UserError: `src` is nothing of the kind, `dst` holds something else or cannot be written.
    """
    src, dst = Path(src), Path(dst)
    _check_free(dst)
    dtype = torch.float16 if half else torch.float32
    parts = _parts_of(src, n_views, prediction_type, dtype)
    ensure_folder(dst.parent)
    temporary = Path(tempfile.mkdtemp(dir=dst.parent, prefix=f".{dst.name}."))
    try:
        _write(temporary, parts, src.name)
        _put(temporary, dst)
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"cannot write {dst}: {reason}. Check the disk and permissions.") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return dst


def _parts_of(src: Path, n_views: int, prediction_type: str, dtype: torch.dtype) -> dict[str, Any]:
    if not src.is_dir():
        return parts_of_checkpoint(src, n_views, prediction_type, dtype)
    if is_mvdream_folder(src):
        return parts_of_mvdream_folder(src, n_views, dtype)
    raise UserError(f"{src} is not MVDream's folder layout: a diffusers folder needs no conversion, load it as it is.")


def _check_free(dst: Path) -> None:
    if dst.exists() and not dst.is_dir():
        raise UserError(f"{dst} is a file: choose another folder to write to.")
    if not dst.is_dir() or not any(dst.iterdir()):
        return
    index = dst / "model_index.json"
    if not index.is_file() or _MARK not in read_json(index):
        raise UserError(f"{dst} holds something that is not an earlier conversion: choose another folder.")


def _write(folder: Path, parts: dict[str, Any], source: str) -> None:
    models = {name: parts[name] for name in ("tokenizer", "text_encoder", "vae", "unet", "scheduler")}
    with quiet_loading():
        pipeline = StableDiffusionPipeline(
            **models, safety_checker=None, feature_extractor=None, requires_safety_checker=False
        )
        pipeline.save_pretrained(folder)
        save_tokenizer(models["tokenizer"], folder / "tokenizer")
    index = read_json(folder / "model_index.json") | {_MARK: source}
    if parts["n_views"] > 1:
        index["n_views"] = parts["n_views"]
        index["no_camera"] = "omitted"
    write_json(folder / "model_index.json", index)


def _put(temporary: Path, dst: Path) -> None:
    for path in temporary.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())
    # mkdtemp makes private folders; a result is to be read by whoever the umask allows.
    umask = os.umask(0)
    os.umask(umask)
    temporary.chmod(0o777 & ~umask)
    if not dst.is_dir() or not any(dst.iterdir()):
        os.replace(temporary, dst)
        return
    with tempfile.TemporaryDirectory(dir=dst.parent, prefix=f".{dst.name}.") as old:
        os.replace(dst, Path(old) / dst.name)
        os.replace(temporary, dst)
