"""Which reference attention a distribution's pictures are seen by, and where its weights lie."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from dreamdist3d.backbones.backbone import Backbone
from dreamdist3d.backbones.find import find
from dreamdist3d.errors import UserError

FILE = "reference_attention.safetensors"  # in a model folder


def hash_of(weights: Mapping[str, Tensor]) -> str:
    """Hex SHA-256 of a reference attention's weights as float16, by which a distribution names it."""
    digest = hashlib.sha256()
    for name, value in sorted(weights.items()):
        digest.update(name.encode() + value.detach().half().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def see_references(backbone: Backbone, wanted: str, place: str = "") -> None:
    """Let a backbone see the references of a distribution; nothing to do for one that has none.

    Args:
        wanted: `hash_of` the weights; empty: none.
        place: the file they were in; else they are looked for beside the model's own weights.

    Raises:
        UserError: they are not there, not the same ones any more, or of another UNet.
    """
    if wanted in ("", backbone.reference_attention):
        return
    found = next((path for path in _places(backbone, place) if path.is_file()), None)
    if found is None:
        raise UserError(
            f"the distribution has pictures that {backbone.name} sees only through {place or FILE}: bring that "
            "back, or learn without --details."
        )
    try:
        weights = load_file(found)
    except (OSError, SafetensorError) as error:
        raise UserError(f"{found} cannot be read ({error}): get it again.") from error
    if hash_of(weights) != wanted:
        raise UserError(f"{found} is not what the distribution was made for: bring that back, or make it again.")
    from dreamdist3d.backbones.reference_attention import install_reference_attention

    words = backbone.text_encoder.config.max_position_embeddings
    counts = [int(count) for count in weights.get("0.counts", ())]
    layers = install_reference_attention(backbone.unet, words, counts)
    try:
        layers.load_state_dict(weights)
    except RuntimeError as error:
        raise UserError(
            f"{found} is for another UNet than {backbone.name} has: use the one it was made for."
        ) from error
    backbone.reference_attention = wanted


def _places(backbone: Backbone, place: str) -> list[Path]:
    folder = find(backbone.name).path
    return [*([Path(place)] if place else []), *([folder / FILE] if folder.is_dir() else [])]
