"""The packaged judges: a small DINO and a small CLIP, trained on the miniature world."""

import json
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from torch import Tensor
from transformers import CLIPModel, CLIPTokenizer, PreTrainedModel, ViTModel

from dreamdist3d.errors import UserError
from dreamdist3d.eval.features.encoder import unit_features
from dreamdist3d.files import sha256_of
from dreamdist3d.quiet import quiet_loading


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
        self.model_id, self.resize = _model_id(self.name, path), self._normalise.resize

    def encode(self, images: Tensor | Sequence[Tensor]) -> Tensor:
        """[N, 3, H, W], or N pictures [3, H, W] of any sizes, in [0, 1] -> [N, D] unit vectors."""
        return unit_features(images, self._normalise, self._forward)

    def _forward(self, inputs: Tensor) -> Tensor:
        return self._model(pixel_values=inputs).last_hidden_state[:, 0]


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
        self.model_id, self.resize = _model_id(self.name, self._path), self._normalise.resize
        # What cosines are multiplied by before a softmax over texts, as learned.
        self.scale = float(self._model.logit_scale.exp())

    def encode(self, images: Tensor | Sequence[Tensor]) -> Tensor:
        """[N, 3, H, W], or N pictures [3, H, W] of any sizes, in [0, 1] -> [N, D] unit vectors."""
        return unit_features(images, self._normalise, self._forward)

    @torch.no_grad()
    def encode_text(self, texts: Sequence[str]) -> Tensor:
        """Sentences -> [N, D] unit vectors in the space of `encode`."""
        tokenizer = CLIPTokenizer.from_pretrained(self._path, local_files_only=True)
        length = self._model.config.text_config.max_position_embeddings
        tokens = tokenizer(list(texts), padding=True, truncation=True, max_length=length, return_tensors="pt")
        features = self._model.get_text_features(tokens["input_ids"], attention_mask=tokens["attention_mask"])
        return F.normalize(_tensor(features), dim=-1)

    def _forward(self, inputs: Tensor) -> Tensor:
        return _tensor(self._model.get_image_features(pixel_values=inputs))


class _Normalise:
    """Squashes to the model's square and applies the mean and deviation stored with it (0.5 where none are)."""

    def __init__(self, path: Path, size: int) -> None:
        config = path / "preprocessor_config.json"
        stored = json.loads(config.read_text(encoding="utf-8")) if config.is_file() else {}
        self._size = size
        self.resize = f"bilinear, antialiased, to {size} x {size} without a crop"
        self._mean = torch.tensor(stored.get("image_mean", [0.5] * 3)).view(3, 1, 1)
        self._std = torch.tensor(stored.get("image_std", [0.5] * 3)).view(3, 1, 1)

    def __call__(self, image: Tensor) -> Tensor:
        if image.shape[-2:] != (self._size, self._size):
            image = F.interpolate(image[None], (self._size, self._size), mode="bilinear", antialias=True)[0]
        return (image - self._mean) / self._std


def _packaged(judge: str) -> Path:
    return Path(str(files("dreamdist3d.mini"))) / "weights" / "judges" / judge


def _model_id(name: str, path: Path) -> str:
    return f"{name}@sha256:{sha256_of(path / 'model.safetensors')[:16]}"


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
