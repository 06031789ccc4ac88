"""A learned distribution of prompts: K short sequences of vectors, kept without anything of the model."""

import hashlib
import math
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from dreamdist3d.errors import UserError
from dreamdist3d.prompts.draw import PromptDraw
from dreamdist3d.prompts.encoder import PromptFeatures, SoftPromptEncoder
from dreamdist3d.prompts.formats.storage import Stored, as_float32, write_stored
from dreamdist3d.prompts.moments import Covariance, Moments, check_covariance
from dreamdist3d.prompts.source import PromptSource

if TYPE_CHECKING:
    from typing_extensions import Self

FORMAT = "dreamdist3d-distribution-1"
MAX_PROMPTS = 1024  # K; thirty times the paper's, and a quarter of a gigabyte once they are encoded
_DESCRIBED = ("covariance", "encoder_fingerprint", "prefix", "suffix")


@dataclass(frozen=True, eq=False)
class PromptDistribution(PromptSource):
    """K prompts of M soft tokens, and the kind of Gaussian they span (DreamDistribution, section 3.2).

    The tokens live at the INPUT of a text encoder, the Gaussian at its output: `moments` joins the two.

    Raises:
        UserError: tokens of another rank or not finite, more than 1024 prompts, an unknown covariance, a limit out of
            range.
    """

    tokens: Tensor  # [K, M, d] float32, on the CPU
    covariance: Covariance
    encoder_fingerprint: str  # `Backbone.fingerprint` of the text encoder they were learned with
    prefix: str = ""
    suffix: str = ""
    metadata: dict[str, str] = field(default_factory=dict)  # facts about the training
    limit: float | None = None  # of a draw's distance from the mean, in the prompts' median distance
    references: Tensor | None = None  # [T, D] float32, of pictures, for a UNet that sees them (`see_references`)
    reference_attention: str = ""  # hash of the weights it sees them by

    def __post_init__(self) -> None:
        check_covariance(self.covariance)
        if self.limit is not None and not (math.isfinite(self.limit) and self.limit > 0):
            raise UserError(f"limit={self.limit} is out of range: it must be a finite number above 0.")
        if len(self.tokens) > MAX_PROMPTS:
            raise UserError(f"{len(self.tokens):,} prompts are too many: a distribution has {MAX_PROMPTS} at most.")
        object.__setattr__(self, "tokens", as_float32(self.tokens, "tokens", "prompts, tokens, width"))
        if self.references is not None:
            object.__setattr__(self, "references", as_float32(self.references, "references", "tokens, width"))

    @property
    def content_hash(self) -> str:
        """Hex SHA-256 of all that decides a draw: tokens, covariance, fingerprint, prefix, suffix, and, if there are
        any, limit and references."""
        digest = hashlib.sha256(self.tokens.numpy().astype("<f4").tobytes())
        for part in (list(self.tokens.shape), *self._described().items()):
            digest.update(repr(part).encode())
        if self.references is not None:
            digest.update(self.references.numpy().astype("<f4").tobytes())
        return digest.hexdigest()

    def save(self, path: Path) -> None:
        """As `PromptSource.save`."""
        tensors = {"tokens": self.tokens} | ({} if self.references is None else {"references": self.references})
        write_stored(Path(path), FORMAT, tensors, {**self.metadata, **self._described()})

    @classmethod
    def from_stored(cls, stored: Stored) -> "Self":
        """As `PromptSource.from_stored`."""
        references = stored.tensors.get("references")
        stored.require(FORMAT, "tokens", *([] if references is None else ["references"]))
        described: dict[str, Any] = stored.take(*_DESCRIBED)
        limit = stored.metadata.pop("limit", None)  # files from before there was one have none
        seen_by = stored.metadata.pop("reference_attention", "")
        try:
            return cls(
                stored.tensors["tokens"],
                metadata=stored.metadata,
                limit=None if limit is None else float(limit),
                references=references,
                reference_attention=seen_by,
                **described,
            )
        except (UserError, ValueError) as error:
            raise UserError(f"{stored.path}: {error}") from error

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
        features = self.features(encoder, prefix, suffix)
        found = Moments.of(features.hidden, self.covariance, int(features.ends[0]), self.limit)
        return replace(found, references=self.references)

    @torch.no_grad()
    def features(
        self, encoder: SoftPromptEncoder, prefix: str | None = None, suffix: str | None = None
    ) -> PromptFeatures:
        """The encoded prompts themselves; as `moments`.

        Raises:
            UserError: as `moments`; or finite tokens are too large for the encoder.
        """
        prefix = self.prefix if prefix is None else prefix
        suffix = self.suffix if suffix is None else suffix
        features = encoder.encode(self.tokens, prefix, suffix)
        if not torch.isfinite(features.hidden).all():
            raise UserError("the tokens are too large: the text encoder's answer is not finite. Learn them again.")
        return features

    def draw(
        self,
        seed: int,
        gamma: float = 1.0,
        prefix: str | None = None,
        suffix: str | None = None,
        antithetic: bool = False,
    ) -> PromptDraw:
        """As `PromptSource.draw`, of this covariance."""
        return PromptDraw(seed, gamma, self.covariance, antithetic, prefix, suffix)

    def moments_for(self, draw: PromptDraw, encoder: SoftPromptEncoder) -> Moments:
        """`moments` under the draw's words."""
        return self.moments(encoder, draw.prefix, draw.suffix)

    def _described(self) -> dict[str, str]:
        limit = {} if self.limit is None else {"limit": str(self.limit)}
        seen_by = {"reference_attention": self.reference_attention} if self.reference_attention else {}
        return {key: getattr(self, key) for key in _DESCRIBED} | limit | seen_by
