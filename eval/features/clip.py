"""CLIP by open_clip."""

from collections.abc import Sequence
from dataclasses import dataclass
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

FILE = "open_clip_model.safetensors"


@dataclass(frozen=True)
class ClipModel:
    """A published CLIP by OpenAI."""

    key: str  # on the command line
    name: str  # in tables
    architecture: str  # open_clip's name
    repository: str  # on the hub


class ClipEncoder:
    """The image and the text tower of a CLIP.

    Pictures are resized by Pillow in 8 bits, as when the weights were published, not as tensors: the two differ.

    Args:
        model: which one.
        checkpoint: its weights on this disk, in open_clip's layout, or the folder that holds
            `open_clip_model.safetensors`; None for the hub's cache, else a download.

    Raises:
        UserError: the weights are missing, damaged or another model's.
    """

    def __init__(self, model: ClipModel, checkpoint: Path | None = None) -> None:
        import open_clip

        path = weights_of(model, checkpoint)
        self._model = _load(model, path).to(best_device())
        config = open_clip.transform.PreprocessCfg(**self._model.visual.preprocess_cfg)
        self._transform = open_clip.transform.image_transform_v2(config, is_train=False)
        self._tokenizer = open_clip.get_tokenizer(model.architecture)
        self.name = model.name
        self.model_id = f"{model.architecture}@sha256:{remembered_sha256(path)[:16]}"
        size = config.input_size[-1]
        self.resize = f"{config.interpolation} (Pillow), shorter side to {size}, middle {size} x {size}"

    def encode(self, images: Tensor | Sequence[Tensor]) -> Tensor:
        """[N, 3, H, W], or N pictures [3, H, W] of any sizes, in [0, 1] -> [N, D] unit vectors."""
        return unit_features(images, self._preprocess, self._forward)

    @torch.no_grad()
    def encode_text(self, texts: Sequence[str]) -> Tensor:
        """Sentences -> [N, D] unit vectors in the space of `encode`; more than 77 tokens are cut off."""
        features = self._model.encode_text(self._tokenizer(list(texts)).to(self._device))
        return F.normalize(features.float().cpu(), dim=-1)

    @property
    def _device(self) -> torch.device:
        return next(self._model.parameters()).device

    def _preprocess(self, image: Tensor) -> Tensor:
        return self._transform(to_pillow(image))

    def _forward(self, inputs: Tensor) -> Tensor:
        return self._model.encode_image(inputs.to(self._device))


def weights_of(model: ClipModel, checkpoint: Path | None = None) -> Path:
    """The file of a model's weights: the one that is named, the hub's cache's, else a download.

    Raises:
        UserError: it cannot be had.
    """
    if checkpoint is not None:
        return local_checkpoint(checkpoint, FILE, model.name)
    return hub_file(
        model.repository, FILE, model.name, f"give a local copy as {model.key}=PATH, or use --features mini"
    )


def _load(model: ClipModel, path: Path) -> Any:  # open_clip's CLIP, which has more than a module's methods
    import open_clip

    try:
        # OpenAI trained with the quick GELU; open_clip's plain architecture names mean the exact one.
        network = open_clip.create_model(
            model.architecture, pretrained=str(path), force_quick_gelu=True, weights_only=True
        )
    except UNREADABLE as error:
        raise does_not_load(path, model.name, error) from error
    return network.eval().requires_grad_(False)
