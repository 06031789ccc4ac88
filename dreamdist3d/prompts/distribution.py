"""A learned distribution of prompts: K short sequences of vectors, kept without anything of the model."""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from dreamdist3d.errors import UserError
from dreamdist3d.prompts.draw import Covariance, Moments, PromptDraw, check_covariance
from dreamdist3d.prompts.encoder import SoftPromptEncoder
from dreamdist3d.prompts.storage import as_float32, read_tokens, write_tokens


@dataclass(frozen=True, eq=False)
class PromptDistribution:
    """K prompts of M soft tokens, and the kind of Gaussian they span (DreamDistribution, section 3.2).

    The tokens live at the INPUT of a text encoder, the Gaussian at its output: `moments` joins the two.

    Raises:
        UserError: tokens of another rank or not finite, an unknown covariance.
    """

    tokens: Tensor  # [K, M, d] float32, on the CPU
    covariance: Covariance
    encoder_fingerprint: str  # `Backbone.fingerprint` of the text encoder they were learned with
    prefix: str = ""
    suffix: str = ""
    metadata: dict[str, str] = field(default_factory=dict)  # facts about the training

    def __post_init__(self) -> None:
        check_covariance(self.covariance)
        object.__setattr__(self, "tokens", as_float32(self.tokens))

    @property
    def content_hash(self) -> str:
        """Hex SHA-256 of all that decides a draw: tokens, covariance, fingerprint, prefix, suffix."""
        digest = hashlib.sha256(self.tokens.numpy().astype("<f4").tobytes())
        for part in (list(self.tokens.shape), *self._described().items()):
            digest.update(repr(part).encode())
        return digest.hexdigest()

    def save(self, path: Path) -> None:
        """Write a safetensors file, whole or not at all; equal distributions make equal files.

        Raises:
            UserError: the folder cannot be written.
        """
        write_tokens(Path(path), self.tokens, {**self.metadata, **self._described()})

    @classmethod
    def load(cls, path: Path) -> "PromptDistribution":
        """Read what `save` wrote.

        Raises:
            UserError: anything wrong with the file, in one line that names it.
        """
        tokens, metadata = read_tokens(Path(path))
        try:
            described = {key: metadata.pop(key) for key in _DESCRIBED}
            return cls(tokens=tokens, metadata=metadata, **described)
        except KeyError as error:
            raise UserError(f"{path} lacks the metadata {error}: it is no whole distribution file.") from error
        except UserError as error:
            raise UserError(f"{path}: {error}") from error

    @torch.no_grad()
    def moments(self, encoder: SoftPromptEncoder, prefix: str | None = None, suffix: str | None = None) -> Moments:
        """Mean and deviation of the encoded prompts; another prefix or suffix edits all K of them by text.

        Args:
            encoder: of the backbone the file was learned with (`check_encoder`).
            prefix: words before the tokens; None: the stored ones.
            suffix: words after them; None: the stored ones.

        Raises:
            UserError: the encoder has another width, or the prompt is too long.
        """
        prefix = self.prefix if prefix is None else prefix
        suffix = self.suffix if suffix is None else suffix
        return Moments.of(encoder.encode(self.tokens, prefix, suffix).hidden, self.covariance)

    def draw(self, seed: int, gamma: float = 1.0) -> PromptDraw:
        """The draw `seed` of this kind of distribution; `gamma` scales its distance from the mean.

        Raises:
            UserError: a seed outside 0..2^32-1, a gamma that is negative or not finite.
        """
        return PromptDraw(seed, gamma, self.covariance)

    def check_encoder(self, fingerprint: str) -> None:
        """Raise a UserError unless `fingerprint` is the one the prompts were learned with."""
        if fingerprint != self.encoder_fingerprint:
            learned = self.metadata.get("backbone", "another backbone")
            raise UserError(
                f"the distribution was learned with another text encoder ({learned}, {self.encoder_fingerprint[:12]}; "
                f"this one is {fingerprint[:12]}): use that backbone, or learn again with this one."
            )

    def _described(self) -> dict[str, str]:
        return {key: getattr(self, key) for key in _DESCRIBED}


_DESCRIBED = ("covariance", "encoder_fingerprint", "prefix", "suffix")
