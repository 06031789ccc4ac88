"""What every kind of distribution offers: draws, and the prompts they stand for."""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from dreamdist3d.backbones import Backbone, Fingerprinted, has_fingerprint, is_earlier, see_references, shortened
from dreamdist3d.errors import UserError
from dreamdist3d.prompts.draw import PromptDraw
from dreamdist3d.prompts.encoder import SoftPromptEncoder
from dreamdist3d.prompts.formats.storage import Stored, read_stored
from dreamdist3d.prompts.moments import Moments

if TYPE_CHECKING:
    from typing_extensions import Self

MODEL = "model_sha256"  # in the metadata of prompts that mean something to one model alone: its `Backbone.identity`


class PromptSource(ABC):
    """A distribution over prompts: learned, composed of several, or known by its moments alone."""

    encoder_fingerprint: str  # `Backbone.fingerprint` of the text encoder it was learned with
    metadata: dict[str, str]  # facts about the training
    reference_attention: str = ""  # hash of what a UNet needs to see the pictures in its prompts; empty: none are

    @property
    @abstractmethod
    def content_hash(self) -> str:
        """Hex SHA-256 of all that decides a draw."""

    @abstractmethod
    def save(self, path: Path) -> None:
        """Write a safetensors file, whole or not at all; equal distributions make equal files.

        Raises:
            UserError: the folder cannot be written.
        """

    @classmethod
    def load(cls, path: Path) -> "Self":
        """Read what `save` wrote.

        Raises:
            UserError: anything wrong with the file, in one line that names it.
        """
        return cls.from_stored(read_stored(Path(path)))

    @classmethod
    @abstractmethod
    def from_stored(cls, stored: Stored) -> "Self":
        """From a file's content.

        Raises:
            UserError: it is of another format, lacks something, or holds odd numbers.
        """

    @abstractmethod
    def draw(
        self,
        seed: int,
        gamma: float = 1.0,
        prefix: str | None = None,
        suffix: str | None = None,
        antithetic: bool = False,
    ) -> PromptDraw:
        """The draw `seed`; gamma scales its distance from the mean, prefix and suffix edit it by words.

        Raises:
            UserError: a seed outside 0..2^32-1, a gamma that is negative or not finite.
        """

    @abstractmethod
    def moments_for(self, draw: PromptDraw, encoder: SoftPromptEncoder) -> Moments:
        """The Gaussian that `draw` is taken from: under its words, weights and component.

        Raises:
            UserError: the encoder has another width, or the prompt is too long.
        """

    @torch.no_grad()
    def embed(self, draw: PromptDraw, encoder: SoftPromptEncoder) -> Tensor:
        """The drawn prompt [L, D], ready for the UNet's cross-attention.

        Raises:
            UserError: as `moments_for`; or the draw is of another kind of distribution.
        """
        return draw.embed(self.moments_for(draw, encoder))

    def check_encoder(self, model: Fingerprinted) -> None:
        """Raise a UserError unless the prompts were learned with the text encoder of `model`, such as a `Backbone`.

        A half-precision copy of it will do (`fingerprint_of`); not for files of earlier versions.
        """
        recorded = self.encoder_fingerprint
        if not has_fingerprint(model, recorded):
            learned = self.metadata.get("backbone", "another backbone")
            copies = ", or (the file is of an earlier version) a copy of this one in another precision"
            raise UserError(
                f"the distribution was learned with another text encoder ({learned}, {shortened(recorded)}; this one "
                f"is {shortened(model.fingerprint)}{copies * is_earlier(recorded)}): use that backbone, or learn again "
                "with this one."
            )

    def check_model(self, backbone: Backbone) -> None:
        """`check_encoder`; and prompts that were made together with a changed UNet are refused by any other.

        Afterwards the model sees the pictures that the prompts carry, if they do (`see_references`).

        Raises:
            UserError: the text encoder or the model is another, or what the pictures are seen by is not there.
        """
        self.check_encoder(backbone)
        belongs = self.metadata.get(MODEL)
        if belongs is not None and belongs != backbone.identity:
            raise UserError(
                f"the prompts belong to a changed model (weights {belongs[:12]}, {backbone.name} has "
                f"{backbone.identity[:12]}): use {self.metadata.get('backbone', 'the backbone beside them')} "
                "(system.backbone=, --backbone)."
            )
        see_references(backbone, self.reference_attention, self.metadata.get("reference_attention_path", ""))

    def check_text_side(self, model: Fingerprinted) -> None:
        """`check_encoder`, for engines of which no more than the text encoder is ours; a changed UNet is none of them.

        Raises:
            UserError: the text encoder is another, or the prompts mean something to a changed model alone, or carry
                pictures, which only our own backbones see.
        """
        self.check_encoder(model)
        if self.reference_attention:
            raise UserError("the prompts carry pictures, which this engine does not see: make them without --details.")
        if MODEL in self.metadata:
            raise UserError(
                "the prompts were made together with a changed diffusion model and mean nothing to another one: use it "
                "(system.backbone=, --backbone), or learn a distribution."
            )
