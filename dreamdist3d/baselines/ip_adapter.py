"""Plain words and the pictures themselves, seen by a reference attention (after IP-Adapter, Ye et al. 2023)."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from dreamdist3d.apprentice import instant, load_apprentice, packaged_apprentice
from dreamdist3d.baselines.words import words_source
from dreamdist3d.prompts import PromptDistribution, PromptSource, ReferenceImages

if TYPE_CHECKING:
    from dreamdist3d.backbones import Backbone


def shown_source(
    backbone: "Backbone",
    references: ReferenceImages,
    words: Sequence[str],
    apprentice: Path | None,
    metadata: dict[str, str],
) -> PromptSource:
    """One prompt of words, beside which the UNet looks at the first pictures through keys and values of its own.

    Nothing is learned here: what shows pictures to the UNet was trained with the apprentice.

    Args:
        backbone: of the apprentice.
        references: the first four, in the order of their contents, are shown.
        words: one text, such as "a mushroom".
        apprentice: a file with a reference attention; None for the one that ships.
        metadata: of the file.

    Raises:
        UserError: none ships for this backbone, the file shows no pictures or is for another, or words are too long.
    """
    trained = load_apprentice(apprentice or packaged_apprentice(backbone))
    seen = instant(backbone, trained, references, details=True)
    prompt = words_source(backbone, words, metadata)
    assert isinstance(prompt, PromptDistribution)  # of one text
    return replace(prompt, references=seen.references, reference_attention=seen.reference_attention)
