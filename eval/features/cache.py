"""Features that were computed once: kept on disk by the content of the picture and the identity of the encoder."""

import hashlib
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from dreamdist3d.eval.features.encoder import ImageEncoder
from dreamdist3d.files import safe_name, write_atomic

_SHARD = 1024  # pictures encoded and written together, which is what an interruption loses at most


class FeatureCache:
    """A folder of features.

    Every encoder has a folder of its own, named after itself and the hash of its `model_id` and `resize`: other
    weights or another filter never meet these features. In it lie files of up to 1024 pictures with `hashes`
    (uint8 [N, 32], SHA-256 of size and pixels) and `features` (float32 [N, D]), each written whole or not at all, so
    that processes can share the folder. A damaged file counts as absent.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._hashes: dict[Path, list[bytes]] = {}

    def encode(self, encoder: ImageEncoder, images: Tensor | Sequence[Tensor]) -> Tensor:
        """What `encoder.encode(images)` gives, encoding only pictures that are not known yet: [N, D].

        Raises:
            ValueError: no pictures.
            UserError: the folder cannot be written.
        """
        if not len(images):
            raise ValueError("there are no pictures to encode")
        hashes = [picture_hash(image) for image in images]
        place = self._folder / _folder_name(encoder)
        known = self._read(place, set(hashes))
        missing = list({key: index for index, key in enumerate(hashes) if key not in known}.items())
        for start in range(0, len(missing), _SHARD):
            keys, indices = zip(*missing[start : start + _SHARD], strict=True)
            features = encoder.encode([images[index] for index in indices])
            _write(place, keys, features, encoder)
            known.update(zip(keys, features, strict=True))
        return torch.stack([known[key] for key in hashes])

    def _read(self, place: Path, wanted: set[bytes]) -> dict[bytes, Tensor]:
        found: dict[bytes, Tensor] = {}
        for path in sorted(place.glob("[!.]*.safetensors")):
            with suppress(OSError, SafetensorError), safe_open(path, framework="pt") as shard:
                if path not in self._hashes:
                    self._hashes[path] = [row.tobytes() for row in shard.get_tensor("hashes").numpy()]
                rows = [row for row, key in enumerate(self._hashes[path]) if key in wanted]
                if rows:
                    features = shard.get_tensor("features")
                    found.update((self._hashes[path][row], features[row].clone()) for row in rows)
        return found


def picture_hash(image: Tensor) -> bytes:
    """SHA-256 of a picture's [3, H, W] size and float32 values.

    Example:
        >>> picture_hash(torch.zeros(3, 2, 1)) == picture_hash(torch.zeros(3, 1, 2))
        False
    """
    pixels = np.ascontiguousarray(image.detach().cpu().float().numpy(), "<f4")
    return hashlib.sha256(repr(pixels.shape).encode() + pixels.tobytes()).digest()


def _folder_name(encoder: ImageEncoder) -> str:
    identity = hashlib.sha256(f"{encoder.model_id}\n{encoder.resize}".encode()).hexdigest()
    return f"{safe_name(encoder.name, 40)}-{identity[:16]}"


def _write(place: Path, keys: Sequence[bytes], features: Tensor, encoder: ImageEncoder) -> None:
    hashes = torch.frombuffer(bytearray(b"".join(keys)), dtype=torch.uint8).view(len(keys), -1)
    tensors = {"hashes": hashes, "features": features.float().contiguous()}
    about = {"model_id": encoder.model_id, "resize": encoder.resize}
    name = hashlib.sha256(b"".join(keys)).hexdigest()[:32]
    write_atomic(place / f"{name}.safetensors", lambda path: save_file(tensors, path, about))
