"""The judges by name."""

from collections.abc import Sequence
from pathlib import Path

from dreamdist3d.backbones.adapted import is_adapted, read_adapted
from dreamdist3d.errors import UserError
from dreamdist3d.eval.features import clip, timm_vit
from dreamdist3d.eval.features.clip import ClipEncoder, ClipModel
from dreamdist3d.eval.features.encoder import ImageEncoder
from dreamdist3d.eval.features.mini import MiniClip, MiniDino
from dreamdist3d.eval.features.timm_vit import TimmEncoder, TimmModel

MINI = "mini"

# The authors of DINO evaluate it on the middle 224 of 256 pixels (Caron et al., ICCV 2021, their released code),
# and so do DreamBooth and those who compare with it; timm's record holds the 0.9 of its supervised transformers.
_AS_DINO = {"crop_pct": 224 / 256}

PUBLISHED: dict[str, TimmModel | ClipModel] = {
    model.key: model
    for model in (
        TimmModel("dino_vits16", "DINO ViT-S/16", "vit_small_patch16_224.dino", _AS_DINO),
        TimmModel("dino_vitb8", "DINO ViT-B/8", "vit_base_patch8_224.dino", _AS_DINO),
        TimmModel("dinov2", "DINOv2 ViT-B/14", "vit_base_patch14_dinov2.lvd142m"),
        ClipModel("clip_vitb32", "CLIP ViT-B/32", "ViT-B-32", "timm/vit_base_patch32_clip_224.openai"),
        ClipModel("clip_vitl14", "CLIP ViT-L/14", "ViT-L-14", "timm/vit_large_patch14_clip_224.openai"),
    )
}

USUAL = ("dino_vits16", "clip_vitb32")
"""The judges that papers compare with."""


def fitting_features(backbone: str) -> tuple[list[str], str | None]:
    """The judges that fit what a backbone makes, and what to tell the user where they cannot be had.

    The packaged ones have seen the miniature's objects and nothing else, so that they are its own; of everything else
    the published ones are asked, from the hub's cache or downloaded.

    Args:
        backbone: as `load_backbone` takes it.

    Raises:
        UserError: a changed backbone's record is damaged.
    """
    if is_adapted(Path(backbone)):
        backbone = read_adapted(Path(backbone)).base
    if backbone == MINI:
        return [MINI], None
    if found := [key for key in USUAL if _can_be_had(key)]:
        lacking = [key for key in USUAL if key not in found]
        return found, f"the weights of {lacking[0]} cannot be had: scored without it." if lacking else None
    return [MINI], (
        f"the weights of {' and '.join(USUAL)} cannot be had: the batch is scored by the miniature's judges, which "
        f"have seen its renders and nothing else, so that their numbers say little of {backbone}'s assets. Where the "
        f"network reaches, or with {USUAL[0]}=PATH {USUAL[1]}=PATH: dreamdist3d evaluate FOLDER --features ..."
    )


def _can_be_had(key: str) -> bool:
    model = PUBLISHED[key]
    try:
        return (timm_vit.weights_of(model) if isinstance(model, TimmModel) else clip.weights_of(model)).is_file()
    except UserError:
        return False


def load_encoders(names: Sequence[str]) -> list[ImageEncoder]:
    """The judges of `--features`, in order.

    Args:
        names: "mini" (mini-DINO and mini-CLIP, packaged), a key of `PUBLISHED`, or KEY=PATH with a local checkpoint.

    Raises:
        UserError: no such name, the same one twice, or weights that are missing or do not load.
    """
    if not names:
        raise UserError(f"no features named: give {MINI} or some of {', '.join(PUBLISHED)}.")
    keys = [name.partition("=")[0] for name in names]
    if repeated := next((key for key in keys if keys.count(key) > 1), None):
        raise UserError(f"features {repeated!r} are named twice: name each once.")
    return [encoder for name in names for encoder in _load(name)]


def _load(name: str) -> list[ImageEncoder]:
    if name == MINI:
        return [MiniDino(), MiniClip()]
    key, _, path = name.partition("=")
    if key not in PUBLISHED:
        raise UserError(f"there are no features {key!r}: choose {MINI} or some of {', '.join(PUBLISHED)}, or KEY=PATH.")
    model, checkpoint = PUBLISHED[key], Path(path) if path else None
    return [TimmEncoder(model, checkpoint) if isinstance(model, TimmModel) else ClipEncoder(model, checkpoint)]
