"""What a dialogue is about: pictures, told in words, or a distribution; how an edit of it becomes a prompt.

A picture's subject is its caption as the assistant reads it. A distribution that was made of pictures in one pass
takes its place wherever there is one: it is a `DistributionSubject` like any other.
"""

import json
import shlex
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from torch import Tensor

from dreamdist3d.assistant.edit import Edit, all_asked, words_after, words_before
from dreamdist3d.assistant.intentions import Seen
from dreamdist3d.errors import UserError
from dreamdist3d.prompts import PromptComposition, PromptSource, SoftPromptEncoder
from dreamdist3d.prompts.batches import embed_draws


class Subject(ABC):
    """Something to make pictures of."""

    @abstractmethod
    def worded(self, edit: Edit, seen: Seen) -> Edit:
        """The edit with its prefix and suffix, for a subject that shows `seen` where nothing is changed."""

    @abstractmethod
    def embed(self, edits: Sequence[Edit], encoder: SoftPromptEncoder) -> Tensor:
        """[N, L, D]: the prompts of worded edits."""

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
        return _launch(backbone, {"prompt": self.text(edit)})

    def text(self, edit: Edit) -> str:
        """The whole prompt."""
        after = edit.suffix or ""
        joined = f"{edit.prefix or 'a'} {self.family}{after if after.startswith(',') else f' {after}'}"
        return joined.strip()


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
        return _launch(backbone, values)


def _launch(backbone: str, values: dict[str, object]) -> str:
    """A command line, each word quoted for a shell; texts as they are, lists as JSON, which YAML reads."""
    config = "dreamdist3d/mini.yaml" if backbone == "mini" else "dreamdist3d/mvdream.yaml"
    plain = {name: value if isinstance(value, str) else json.dumps(value) for name, value in values.items()}
    keys = [f"system.prompt_processor.{name}={value}" for name, value in plain.items()]
    return shlex.join(["dreamdist3d", "launch", "--config", config, *keys])
