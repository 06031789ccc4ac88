"""Names of models by their numbers: the same for every copy, whatever its folder, layout or file format.

Weights are hashed as float16, which is what most copies on the hub are rounded to: the float32 original and its
half-precision copy have one name. (A bfloat16 copy is another model: it keeps three of float16's ten digits fewer.)
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import Any, Protocol

import torch
from torch import Tensor

_MARK = "fp16-"  # before it, fingerprints were of the weights as float32, and of nothing but hexadecimal digits
_AT_ONCE = 8
_SCHEDULE = (
    "num_train_timesteps",
    "beta_start",
    "beta_end",
    "beta_schedule",
    "trained_betas",
    "prediction_type",
    "rescale_betas_zero_snr",
)


class Fingerprinted(Protocol):
    """Anything with a text encoder: a `Backbone`, or the `TextSide` of one."""

    @property
    def fingerprint(self) -> str:
        """As `fingerprint_of`."""

    @property
    def earlier_fingerprint(self) -> str:
        """As `earlier_fingerprint_of`."""


class TextSide:
    """The fingerprints of a tokenizer and its text encoder alone, hashed when they are asked for."""

    def __init__(self, tokenizer: Any, text_encoder: Any) -> None:
        self._parts = tokenizer, text_encoder

    @cached_property
    def fingerprint(self) -> str:
        """As `fingerprint_of`."""
        return fingerprint_of(*self._parts)

    @cached_property
    def earlier_fingerprint(self) -> str:
        """As `earlier_fingerprint_of`."""
        return earlier_fingerprint_of(*self._parts)


def has_fingerprint(model: Fingerprinted, recorded: str) -> bool:
    """Whether a recorded fingerprint, of this or an earlier version, is the model's."""
    return recorded == model.fingerprint or (is_earlier(recorded) and recorded == model.earlier_fingerprint)


def is_earlier(recorded: str) -> bool:
    """Whether a recorded fingerprint is of an earlier version, and tells one precision from another."""
    return not recorded.startswith(_MARK)


def shortened(fingerprint: str) -> str:
    """The first digits, for people."""
    return fingerprint.removeprefix(_MARK)[:12]


def fingerprint_of(tokenizer: Any, text_encoder: Any) -> str:
    """SHA-256 over the text encoder's weights, rounded to float16, and the vocabulary: `fp16-` and 64 digits."""
    digest = hashlib.sha256()
    _add_weights(digest, _text_weights(text_encoder))
    _add_words(digest, tokenizer)
    return _MARK + digest.hexdigest()


def earlier_fingerprint_of(tokenizer: Any, text_encoder: Any) -> str:
    """What files of earlier versions carry: SHA-256 over the weights as float32, another for every precision."""
    digest = hashlib.sha256()
    for name, value in _text_weights(text_encoder).items():
        digest.update(name.encode())
        digest.update(value.detach().float().cpu().contiguous().numpy().data)
    _add_words(digest, tokenizer)
    return digest.hexdigest()


def identity_of(fingerprint: str, vae: Any, unet: Any, scheduler: Any) -> str:
    """Hex SHA-256 of all that decides what a model computes: text encoder, autoencoder, UNet and noise schedule.

    Of configurations only what no weight tells; libraries add keys to the rest of them from version to version.
    """
    settings = {name: scheduler.config.get(name) for name in _SCHEDULE}
    settings["scaling_factor"] = float(vae.config.scaling_factor)
    settings["leaves_out_zeros"] = getattr(getattr(unet, "class_embedding", None), "leaves_out_zeros", False)
    digest = hashlib.sha256(json.dumps([fingerprint, settings], sort_keys=True).encode())
    for model in (vae, unet):
        # Attention processors with weights of their own are installed for a distribution, which names them.
        own = {name: value for name, value in model.state_dict().items() if ".processor." not in name}
        _add_weights(digest, own)
    return digest.hexdigest()


def weights_hash(models: Mapping[str, Any]) -> str:
    """Hex SHA-256 of all weights of several networks, by their names, rounded to float16."""
    digest = hashlib.sha256()
    for name, model in sorted(models.items()):
        digest.update(name.encode())
        _add_weights(digest, model.state_dict())
    return digest.hexdigest()


def _text_weights(text_encoder: Any) -> dict[str, Tensor]:
    # transformers 4 keeps a `text_model.` that transformers 5 dropped, and older versions also the positions.
    weights = {name: value for name, value in text_encoder.state_dict().items() if "position_ids" not in name}
    return {name.removeprefix("text_model."): value for name, value in sorted(weights.items())}


def _add_weights(digest: Any, weights: Mapping[str, Tensor]) -> None:
    for part in _hashed(sorted(weights.items())):
        digest.update(part)


def _hashed(weights: list[tuple[str, Tensor]]) -> Iterator[bytes]:
    """Each tensor's name and hash; hashing and rounding leave Python's lock, so that all cores help."""

    def one(item: tuple[str, Tensor]) -> bytes:
        name, value = item
        rounded = value.detach().to(torch.float16).cpu().contiguous().numpy()
        return f"{name}{list(value.shape)}".encode() + hashlib.sha256(rounded.data).digest()

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        yield from pool.map(one, weights)


def _add_words(digest: Any, tokenizer: Any) -> None:
    for token, index in sorted(tokenizer.get_vocab().items()):
        digest.update(f"{token}\0{index}\0".encode())
