"""What a multi-view UNet does where it is given no camera: MVDream leaves the camera embedding out."""

from typing import TYPE_CHECKING, Any, Literal

from torch import Tensor, nn

if TYPE_CHECKING:
    from diffusers import UNet2DConditionModel

NoCamera = Literal["omitted", "zeros"]


def leave_out_missing_cameras(unet: "UNet2DConditionModel") -> "UNet2DConditionModel":
    """Make rows of zeros in `class_labels` mean "no camera": their embedding is not added. In place; returns `unet`.

    MVDream's released network adds `camera_embed(camera)` only `if camera is not None`, while the embedding of
    zeros is that of its biases. No real camera is all zeros: its translation has unit length.
    """
    if not getattr(unet.class_embedding, "leaves_out_zeros", False):
        unet.class_embedding.register_forward_hook(_zero_where_missing)
        unet.class_embedding.leaves_out_zeros = True
    return unet


def _zero_where_missing(module: nn.Module, given: tuple[Tensor, ...], embedding: Tensor) -> Tensor:
    return embedding * (given[0] != 0).any(dim=-1, keepdim=True).to(embedding.dtype)


def stated_no_camera(index: dict[str, Any]) -> NoCamera:
    """What `model_index.json` says under `no_camera`.

    A folder that does not say is MVDream's, or a miniature of before the key existed, which was trained on the
    embedding of zeros and is known by its autoencoder.
    """
    old_miniature = index.get("vae", [None, None])[1] == "AutoencoderTiny"
    return index.get("no_camera") or ("zeros" if old_miniature else "omitted")
