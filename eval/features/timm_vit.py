"""DINO and DINOv2 by timm."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from dreamdist3d.backbones.hashes import remembered_sha256
from dreamdist3d.eval.features.encoder import (
    UNREADABLE,
    best_device,
    does_not_load,
    local_checkpoint,
    to_pillow,
    unit_features,
)
from dreamdist3d.eval.published import hub_file

FILE = "model.safetensors"


@dataclass(frozen=True)
class TimmModel:
    """A published vision transformer.

    `preprocess` holds what its authors evaluate it with where timm's own record says otherwise.
    """

    key: str  # on the command line
    name: str  # in tables
    architecture: str  # timm's name, with the tag of the weights
    preprocess: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)  # of the architecture


class TimmEncoder:
    """The class token of a self-supervised vision transformer.

    Pictures are resized by Pillow in 8 bits, as when the weights were published, not as tensors: the two differ.

    Args:
        model: which one.
        checkpoint: its weights on this disk (timm's safetensors, or the authors' plain `.pth`), or the folder that
            holds `model.safetensors`; None for the hub's cache, else a download.

    Raises:
        UserError: the weights are missing, damaged or another model's.
    """

    def __init__(self, model: TimmModel, checkpoint: Path | None = None) -> None:
        import timm

        path = weights_of(model, checkpoint)
        self._model: Any = _load(model, path).to(best_device())
        config = timm.data.resolve_model_data_config(self._model) | dict(model.preprocess)
        self._transform = timm.data.create_transform(**config, is_training=False)
        self.name = model.name
        self.model_id = f"{model.architecture}@sha256:{remembered_sha256(path)[:16]}"
        self.resize = _in_words(config)

    def encode(self, images: Tensor | Sequence[Tensor]) -> Tensor:
        """[N, 3, H, W], or N pictures [3, H, W] of any sizes, in [0, 1] -> [N, D] unit vectors."""
        return unit_features(images, self._preprocess, self._forward)

    @torch.no_grad()
    def patches(self, images: Tensor | Sequence[Tensor], side: int) -> Tensor:
        """What it makes of every place, averaged to side x side: [N, side^2, D] on the CPU, not of unit length.

        Args:
            images: as of `encode`.
        """
        found = []
        for image in images:
            tokens = self._model.forward_features(self._preprocess(image)[None].to(self._device))
            grid = tokens[:, self._model.num_prefix_tokens :].mT.unflatten(2, self._model.patch_embed.grid_size)
            found.append(F.adaptive_avg_pool2d(grid, side).flatten(2).mT.float().cpu())
        return torch.cat(found)

    @property
    def _device(self) -> torch.device:
        return next(self._model.parameters()).device

    def _preprocess(self, image: Tensor) -> Tensor:
        return self._transform(to_pillow(image))

    def _forward(self, inputs: Tensor) -> Tensor:
        return self._model(inputs.to(self._device))


def weights_of(model: TimmModel, checkpoint: Path | None = None) -> Path:
    """The file of a model's weights: the one that is named, the hub's cache's, else a download.

    Raises:
        UserError: it cannot be had.
    """
    if checkpoint is not None:
        return local_checkpoint(checkpoint, FILE, model.name)
    return hub_file(
        f"timm/{model.architecture}", FILE, model.name, f"give a local copy as {model.key}=PATH, or use --features mini"
    )


def _load(model: TimmModel, path: Path) -> torch.nn.Module:
    import timm

    # timm reads safetensors and, otherwise, plain weights only; it renames the authors' keys to its own.
    overlay = {"file": str(path), "hf_hub_id": None}
    try:
        network = timm.create_model(
            model.architecture, pretrained=True, num_classes=0, pretrained_cfg_overlay=overlay, **model.options
        )
    except UNREADABLE as error:
        raise does_not_load(path, model.name, error) from error
    return network.eval().requires_grad_(False)


def _in_words(config: Mapping[str, Any]) -> str:
    crop = config["input_size"][-1]
    return (
        f"{config['interpolation']} (Pillow), shorter side to {int(crop / config['crop_pct'])}, middle {crop} x {crop}"
    )
