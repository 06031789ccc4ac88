"""A backbone that is another one with changed weights: a folder of the changes alone, and the name of the other.

`adapted.json` names the base and says what the weights beside it are: `lora`, low-rank factors in the file that every
diffusers pipeline's `load_lora_weights` takes, or `weights`, tensors of the UNet that stand in place of the base's.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from dreamdist3d.backbones.backbone import Backbone
from dreamdist3d.backbones.catalogue import CATALOGUE
from dreamdist3d.errors import UserError
from dreamdist3d.files import read_json, write_bytes, write_json
from dreamdist3d.typed import build

if TYPE_CHECKING:
    from diffusers import UNet2DConditionModel

FORMAT = "dreamdist3d-adapted-1"
AdapterKind = Literal["lora", "weights"]
_RECORD = "adapted.json"
_FILES = {"lora": "pytorch_lora_weights.safetensors", "weights": "unet.safetensors"}


@dataclass(frozen=True)
class Adapted:
    """What `adapted.json` says."""

    format: str
    base: str  # what `load_backbone` takes
    base_sha256: str  # `Backbone.identity` of it
    kind: AdapterKind


def is_adapted(path: Path) -> bool:
    """Whether `path` is a folder that `write_adapted` wrote."""
    return (path / _RECORD).is_file()


def write_adapted(folder: Path, base: Backbone, kind: AdapterKind, tensors: Mapping[str, Tensor]) -> None:
    """Write changed weights of `base`'s UNet; `load_backbone(folder)` is then the changed model.

    Args:
        folder: new, or of an earlier writing, which is replaced.
        base: as it was loaded; its identity is that of before the change.
        kind: of `tensors`: LoRA factors with the names that diffusers gives them (`unet.` before each), whose alpha is
            their rank; or the UNet's own tensors by their names in its state dict.

    Raises:
        UserError: the folder cannot be written.
    """
    blob = save({name: tensor.detach().float().cpu().contiguous().clone() for name, tensor in sorted(tensors.items())})
    write_bytes(folder / _FILES[kind], blob)
    # Last: a folder with a record in it is whole.
    write_json(folder / _RECORD, asdict(Adapted(FORMAT, lasting_name(base), base.identity, kind)))


def read_adapted(folder: Path) -> Adapted:
    """What the folder says of itself.

    Raises:
        UserError: the record is damaged, or of a version that this one does not know.
    """
    record = build(Adapted, read_json(folder / _RECORD), f"{folder / _RECORD}")
    if record.format != FORMAT or record.kind not in get_args(AdapterKind):
        raise UserError(
            f"{folder / _RECORD} says {record.format!r}, {record.kind!r}: this version does not know it, update it."
        )
    return record


def lasting_name(backbone: Backbone) -> str:
    """What loads the same backbone again from wherever one stands."""
    return backbone.name if backbone.name in ("mini", *CATALOGUE) else backbone.source


def adapt(base: Backbone, folder: Path, record: Adapted) -> None:
    """Change the UNet of `base`, in place, to what the folder holds. All of it is float32.

    Raises:
        UserError: `base` is not the model that the change is of, or the weights are missing, damaged or another UNet's.
    """
    if base.identity != record.base_sha256:
        raise UserError(
            f"{folder} changes another model than {record.base} is now (weights {record.base_sha256[:12]}, "
            f"now {base.identity[:12]}): put that one back, or make the folder again."
        )
    path = folder / _FILES[record.kind]
    try:
        tensors = load_file(path)
        if record.kind == "lora":
            _merge_lora(base.unet, tensors)
        else:
            _replace(base.unet, tensors)
    except (OSError, SafetensorError, RuntimeError, ValueError, KeyError) as error:
        line = " ".join(str(error).split())[:200]
        raise UserError(f"{path} does not fit {record.base} ({line}): restore it, or make the folder again.") from error


def _replace(unet: "UNet2DConditionModel", tensors: Mapping[str, Tensor]) -> None:
    known = unet.state_dict()
    for name, tensor in tensors.items():
        if name not in known or known[name].shape != tensor.shape:
            raise ValueError(f"the UNet has no {name} {list(tensor.shape)}")
    unet.load_state_dict(tensors, strict=False)


def _merge_lora(unet: "UNet2DConditionModel", tensors: dict[str, Tensor]) -> None:
    from diffusers import StableDiffusionPipeline

    # An adapter that fits nowhere would be passed over with a warning.
    modules = dict(unet.named_modules())
    for name in tensors:
        if not name.startswith("unet.") or name.removeprefix("unet.").partition(".lora")[0] not in modules:
            raise ValueError(f"the UNet has no place for {name}")
    state, alphas = StableDiffusionPipeline.lora_state_dict(tensors)[:2]
    StableDiffusionPipeline.load_lora_into_unet(state, alphas, unet)
    unet.fuse_lora()
    unet.unload_lora()
    unet.requires_grad_(False)


def lora_tensors(state: Mapping[str, Any]) -> dict[str, Tensor]:
    """A UNet's LoRA factors, as peft names them, with the names that a file of them has."""
    from diffusers.utils import convert_state_dict_to_diffusers

    return {f"unet.{name}": tensor for name, tensor in convert_state_dict_to_diffusers(dict(state)).items()}
