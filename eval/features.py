"""The judges: image encoders that turn pictures into unit vectors."""

import json
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from torch import Tensor
from transformers import CLIPModel, CLIPTokenizer, PreTrainedModel, ViTModel

from dreamdist3d.errors import UserError
from dreamdist3d.quiet import quiet_loading

_BATCH = 64


class ImageEncoder(Protocol):
    """Anything that can judge: a name for the report and a way to encode pictures."""

    name: str

    def encode(self, images: Tensor) -> Tensor:
        """[N, 3, H, W] in [0, 1] -> [N, D] unit vectors."""


class MiniDino:
    """A self-supervised image encoder: the class token of a ViT trained without labels.

    Args:
        path: a folder that `transformers` saved a `ViTModel` in; None for the packaged one.

    Raises:
        UserError: the folder is missing or does not load.
    """

    name = "mini-DINO"

    def __init__(self, path: Path | None = None) -> None:
        path = path or _packaged("dino")
        self._model = _load(ViTModel, path, add_pooling_layer=False)
        self._normalise = _Normalise(path, self._model.config.image_size)

    @torch.no_grad()
    def encode(self, images: Tensor) -> Tensor:
        """[N, 3, H, W] in [0, 1] -> [N, D] unit vectors."""
        parts = [
            self._model(pixel_values=self._normalise(batch)).last_hidden_state[:, 0] for batch in images.split(_BATCH)
        ]
        return F.normalize(torch.cat(parts), dim=-1)


class MiniClip:
    """A contrastive pair of an image and a text encoder.

    Args:
        path: a folder that `transformers` saved a `CLIPModel` and its tokenizer in; None for the packaged one.

    Raises:
        UserError: the folder is missing or does not load.
    """

    name = "mini-CLIP"

    def __init__(self, path: Path | None = None) -> None:
        self._path = path or _packaged("clip")
        self._model = _load(CLIPModel, self._path)
        self._normalise = _Normalise(self._path, self._model.config.vision_config.image_size)

    @torch.no_grad()
    def encode(self, images: Tensor) -> Tensor:
        """[N, 3, H, W] in [0, 1] -> [N, D] unit vectors."""
        parts = [
            _tensor(self._model.get_image_features(pixel_values=self._normalise(batch)))
            for batch in images.split(_BATCH)
        ]
        return F.normalize(torch.cat(parts), dim=-1)

    @torch.no_grad()
    def encode_text(self, texts: Sequence[str]) -> Tensor:
        """Sentences -> [N, D] unit vectors in the space of `encode`."""
        tokenizer = CLIPTokenizer.from_pretrained(self._path, local_files_only=True)
        length = self._model.config.text_config.max_position_embeddings
        tokens = tokenizer(list(texts), padding=True, truncation=True, max_length=length, return_tensors="pt")
        features = self._model.get_text_features(tokens["input_ids"], attention_mask=tokens["attention_mask"])
        return F.normalize(_tensor(features), dim=-1)


class _Normalise:
    """Resizes to the model's square and applies the mean and deviation stored with it (0.5 where none are)."""

    def __init__(self, path: Path, size: int) -> None:
        config = path / "preprocessor_config.json"
        stored = json.loads(config.read_text(encoding="utf-8")) if config.is_file() else {}
        self._size = size
        self._mean = torch.tensor(stored.get("image_mean", [0.5] * 3)).view(3, 1, 1)
        self._std = torch.tensor(stored.get("image_std", [0.5] * 3)).view(3, 1, 1)

    def __call__(self, images: Tensor) -> Tensor:
        if images.shape[-2:] != (self._size, self._size):
            images = F.interpolate(images, (self._size, self._size), mode="bilinear", antialias=True)
        return (images - self._mean) / self._std


def _packaged(judge: str) -> Path:
    return Path(str(files("dreamdist3d.mini"))) / "weights" / "judges" / judge


def _load(kind: type[PreTrainedModel], path: Path, **options: Any) -> PreTrainedModel:
    if not (path / "config.json").is_file():
        raise UserError(
            f"the encoder that scores pictures is missing: no {kind.__name__} in {path}; install the package again."
        )
    try:
        with quiet_loading():
            model, info = kind.from_pretrained(
                path, use_safetensors=True, local_files_only=True, output_loading_info=True, **options
            )
        if info["missing_keys"]:
            # transformers would fill them with random numbers, and the scores with them.
            raise ValueError(f"no weights for {sorted(info['missing_keys'])[0]}")
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(
            f"the {kind.__name__} in {path} does not load ({reason}); install the package again."
        ) from error
    return model.float().eval().requires_grad_(False)


def _tensor(features: Any) -> Tensor:
    """transformers 4 returns the features, transformers 5 an output that holds them."""
    return features if isinstance(features, Tensor) else features.pooler_output
