"""What a dialogue is about: pictures, told in words, or a distribution; how an edit of it becomes a prompt.

A picture's subject is its caption as the assistant reads it; where there is a generator, the picture itself, and words
for what is asked of it. A distribution that was made of pictures in one pass takes its place wherever there is one: it
is a `DistributionSubject` like any other.
"""

import json
import shlex
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from dreamdist3d.assistant.edit import Edit, all_asked, words_after, words_before
from dreamdist3d.assistant.intentions import Seen
from dreamdist3d.errors import UserError
from dreamdist3d.prompts import PromptComposition, PromptDistribution, PromptSource, SoftPromptEncoder
from dreamdist3d.prompts.batches import embed_draws

if TYPE_CHECKING:
    from dreamdist3d.assistant.generator.storage import Generator


TOLD = {"color"}  # changes under which the miniature's generator leaves traces of what was there (docs/assistant.md)


class Subject(ABC):
    """Something to make pictures of."""

    @abstractmethod
    def worded(self, edit: Edit, seen: Seen) -> Edit:
        """The edit with its prefix and suffix, for a subject that shows `seen` where nothing is changed."""

    @abstractmethod
    def embed(self, edits: Sequence[Edit], encoder: SoftPromptEncoder) -> Tensor:
        """[N, L, D]: the prompts of worded edits."""

    def references(self, edits: Sequence[Edit], wanted: Tensor | None) -> Tensor | None:
        """[N, T, D]: what stands behind the words of worded edits for a UNet that sees it; None: nothing.

        Args:
            wanted: embeddings [N, S] of the pictures wanted, if they are known.
        """
        return None

    def file(self, edit: Edit, wanted: Tensor | None, encoder: SoftPromptEncoder) -> PromptDistribution | None:
        """What a worded edit is made of as one file, for `sample` and a lift, where words alone do not tell it.

        Args:
            wanted: the embedding [S] of the picture wanted, if it is known.
        """
        return None

    @abstractmethod
    def lift(self, edit: Edit, backbone: str) -> str:
        """The shell command that lifts it to 3D, every word quoted."""


class WordSubject(Subject):
    """A thing of the miniature world by its caption: prefix, family, suffix.

    Args:
        family: its name.
    """

    def __init__(self, family: str) -> None:
        self.family = family

    def worded(self, edit: Edit, seen: Seen) -> Edit:
        """As `Subject.worded`."""
        asked = all_asked(seen, edit.asked)
        return replace(edit, prefix=words_before(asked), suffix=words_after(asked, self.family))

    def embed(self, edits: Sequence[Edit], encoder: SoftPromptEncoder) -> Tensor:
        """As `Subject.embed`."""
        return encoder.encode_text([self.text(edit) for edit in edits]).hidden

    def lift(self, edit: Edit, backbone: str) -> str:
        """As `Subject.lift`."""
        return launch_command(backbone, {"prompt": self.text(edit)})

    def text(self, edit: Edit) -> str:
        """The whole prompt."""
        after = edit.suffix or ""
        joined = f"{edit.prefix or 'a'} {self.family}{after if after.startswith(',') else f' {after}'}"
        return joined.strip()


class PicturedSubject(WordSubject):
    """A picture that the UNet sees: words are for what is asked, all else comes from the picture and from S.

    Patterns are told with all their colours. What of a picture would stay where it should not, its ground under another
    background and its colour under another one (`TOLD`), is told in words alone.

    Args:
        family: the name of the thing.
        picture: [3, H, W] in [0, 1].
        generator: installed in the backbone that the prompts are for.
    """

    def __init__(self, family: str, picture: Tensor, generator: "Generator") -> None:
        super().__init__(family)
        self.picture, self.generator = picture, generator

    def worded(self, edit: Edit, seen: Seen) -> Edit:
        """As `Subject.worded`."""
        stays = edit.asked.get("background", "plain") == "plain" and not edit.asked.keys() & TOLD
        return replace(super().worded(edit, seen), pictured=stays)

    def embed(self, edits: Sequence[Edit], encoder: SoftPromptEncoder) -> Tensor:
        """As `Subject.embed`."""
        return encoder.encode_text([self._said(edit) for edit in edits]).hidden

    def references(self, edits: Sequence[Edit], wanted: Tensor | None) -> Tensor:
        """As `Subject.references`."""
        seen = torch.tensor([edit.pictured for edit in edits])
        return self.generator.tokens(wanted, self.picture, len(edits)) * seen[:, None, None]

    def file(self, edit: Edit, wanted: Tensor | None, encoder: SoftPromptEncoder) -> PromptDistribution | None:
        """As `Subject.file`: one prompt, with the picture and S behind its words."""
        if not edit.pictured:
            return None
        shown = self.references([edit], None if wanted is None else wanted[None])
        return self.generator.file(encoder.word_vectors(self._said(edit)), shown[0])

    def _said(self, edit: Edit) -> str:
        is_whole = not edit.pictured or {"pattern", "second"} & edit.asked.keys()
        return self.text(edit) if is_whole else asked_text(edit.asked, self.family)


def asked_text(asked: dict[str, str], family: str) -> str:
    """`a striped mug with a red handle`: nothing is said that is not asked for."""
    return WordSubject(family).text(Edit(prefix=words_before(asked), suffix=words_after(asked, family)))


class DistributionSubject(Subject):
    """A prompt distribution, drawn from under an edit's words, scale, weights and seed.

    Args:
        source: the distribution.
        paths: its files, for the command; several are a blend.
    """

    def __init__(self, source: PromptSource, paths: Sequence[Path]) -> None:
        self.source, self.paths = source, list(paths)

    def worded(self, edit: Edit, seen: Seen) -> Edit:
        """As `Subject.worded`; words that nobody asked for stay the distribution's own.

        Raises:
            UserError: weights for what is no blend of two.
        """
        if edit.weights is not None and not self.is_blend_of(len(edit.weights)):
            raise UserError("there is only one distribution here: give two files to mix them.")
        prefix, suffix = words_before(edit.asked), words_after(edit.asked, seen.family)
        return replace(edit, prefix=prefix or None, suffix=suffix or None)

    def is_blend_of(self, count: int) -> bool:
        """Whether its weights can be set."""
        composed = self.source
        return (
            isinstance(composed, PromptComposition) and composed.kind == "blend" and len(composed.components) == count
        )

    def embed(self, edits: Sequence[Edit], encoder: SoftPromptEncoder) -> Tensor:
        """As `Subject.embed`."""
        draws = [replace(self.source.draw(e.draw_seed, e.gamma, e.prefix, e.suffix), weights=e.weights) for e in edits]
        return embed_draws(self.source, draws, encoder)

    def lift(self, edit: Edit, backbone: str) -> str:
        """As `Subject.lift`."""
        files = [str(path) for path in self.paths]
        values: dict[str, object] = {"distribution": files[0] if len(files) == 1 else files}
        values |= {"draw_seed": edit.draw_seed, "gamma": edit.gamma}
        if edit.weights is not None:
            values["weights"] = list(edit.weights)
        values |= {name: value for name in ("prefix", "suffix") if (value := getattr(edit, name)) is not None}
        return launch_command(backbone, values)


def launch_command(backbone: str, values: dict[str, object]) -> str:
    """A command line, each word quoted for a shell; texts as they are, lists as JSON, which YAML reads."""
    config = "dreamdist3d/mini.yaml" if backbone == "mini" else "dreamdist3d/mvdream.yaml"
    plain = {name: value if isinstance(value, str) else json.dumps(value) for name, value in values.items()}
    keys = [f"system.prompt_processor.{name}={value}" for name, value in plain.items()]
    return shlex.join(["dreamdist3d", "launch", "--config", config, *keys])
