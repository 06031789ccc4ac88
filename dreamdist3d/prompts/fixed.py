"""A prompt distribution of which only the moments are known, as the official code stores it."""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor

from dreamdist3d.errors import UserError
from dreamdist3d.prompts.draw import PromptDraw
from dreamdist3d.prompts.encoder import SoftPromptEncoder
from dreamdist3d.prompts.formats.storage import Stored, as_float32, write_stored
from dreamdist3d.prompts.moments import Moments
from dreamdist3d.prompts.source import PromptSource

if TYPE_CHECKING:
    from typing_extensions import Self

FORMAT = "dreamdist3d-moments-1"


@dataclass(frozen=True, eq=False)
class FixedMoments(PromptSource):
    """A diagonal Gaussian at the encoder's output: drawn from and scaled, but not edited by words.

    Raises:
        UserError: mu and sigma of different shapes or not finite, or a negative sigma.
    """

    mu: Tensor  # [L, D] float32, on the CPU
    sigma: Tensor  # [L, D], at least 0
    encoder_fingerprint: str  # of the text encoder they come from
    metadata: dict[str, str] = field(default_factory=dict)  # facts about their origin

    def __post_init__(self) -> None:
        for name in ("mu", "sigma"):
            object.__setattr__(self, name, as_float32(getattr(self, name), name, "positions, width"))
        if self.mu.shape != self.sigma.shape or (self.sigma < 0).any():
            raise UserError("mu and sigma must have one shape, and sigma no negative numbers.")

    @property
    def content_hash(self) -> str:
        """Hex SHA-256 of mu, sigma and the fingerprint."""
        digest = hashlib.sha256(f"{list(self.mu.shape)}{self.encoder_fingerprint}".encode())
        for tensor in (self.mu, self.sigma):
            digest.update(tensor.numpy().astype("<f4").tobytes())
        return digest.hexdigest()

    def save(self, path: Path) -> None:
        """As `PromptSource.save`."""
        metadata = {**self.metadata, "encoder_fingerprint": self.encoder_fingerprint}
        write_stored(Path(path), FORMAT, {"mu": self.mu, "sigma": self.sigma}, metadata)

    @classmethod
    def from_stored(cls, stored: Stored) -> "Self":
        """As `PromptSource.from_stored`."""
        stored.require(FORMAT, "mu", "sigma")
        known = stored.take("encoder_fingerprint")
        try:
            return cls(stored.tensors["mu"], stored.tensors["sigma"], known["encoder_fingerprint"], stored.metadata)
        except UserError as error:
            raise UserError(f"{stored.path}: {error}") from error

    def draw(
        self,
        seed: int,
        gamma: float = 1.0,
        prefix: str | None = None,
        suffix: str | None = None,
        antithetic: bool = False,
    ) -> PromptDraw:
        """As `PromptSource.draw`; words are refused.

        Raises:
            UserError: also for a prefix or suffix.
        """
        return self._unedited(PromptDraw(seed, gamma, "diagonal", antithetic, prefix, suffix))

    def moments_for(self, draw: PromptDraw, encoder: SoftPromptEncoder) -> Moments:
        """The stored moments.

        Raises:
            UserError: the draw has a prefix or suffix, or the encoder's length or width is another.
        """
        self._unedited(draw)
        positions, width = self.mu.shape
        if (positions, width) != (encoder.max_length, encoder.width):
            raise UserError(
                f"the moments are of {positions} positions, {width} wide, this text encoder has "
                f"{encoder.max_length}, {encoder.width} wide: use the backbone they come from."
            )
        return Moments(self.mu.to(encoder.device), self.sigma.to(encoder.device), None)

    @staticmethod
    def _unedited(draw: PromptDraw) -> PromptDraw:
        if draw.prefix or draw.suffix:
            raise UserError(
                "this file holds moments alone, without the tokens: a prefix or suffix cannot edit it. "
                "Leave them out, or convert the checkpoint with the tokens (`ctx`)."
            )
        return draw
