"""From the names of files to the distribution they make."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from dreamdist3d.choices import CompositionKind
from dreamdist3d.errors import UserError
from dreamdist3d.prompts import composition, distribution, fixed
from dreamdist3d.prompts.composition import PromptComposition
from dreamdist3d.prompts.distribution import PromptDistribution
from dreamdist3d.prompts.fixed import FixedMoments
from dreamdist3d.prompts.formats.storage import read_stored
from dreamdist3d.prompts.source import PromptSource

_FORMATS: dict[str, type[PromptSource]] = {
    distribution.FORMAT: PromptDistribution,
    composition.FORMAT: PromptComposition,
    fixed.FORMAT: FixedMoments,
}


def load_distribution(path: Path) -> PromptSource:
    """Read any distribution file: learned, composed, or of moments alone.

    Raises:
        UserError: anything wrong with the file, in one line that names it.
    """
    stored = read_stored(Path(path))
    if stored.format not in _FORMATS:
        raise UserError(f"{path} is a {stored.format} file, which this version does not know: update dreamdist3d.")
    return _FORMATS[stored.format].from_stored(stored)


def open_distributions(
    paths: Sequence[Path], weights: Sequence[float] | None = None, kind: CompositionKind = "blend"
) -> PromptSource:
    """One file as it is, several as a composition.

    Args:
        weights: of several files, or anew of one that is a composition; None: equal, or the stored ones.
        kind: of several files' composition.

    Raises:
        UserError: a file cannot be read, or they cannot be composed.
    """
    sources = [load_distribution(path) for path in paths]
    if len(sources) == 1:
        return _reweighted(sources[0], paths[0], weights)
    learned = []
    for source, path in zip(sources, paths, strict=True):
        if not isinstance(source, PromptDistribution):
            raise UserError(f"{path} is itself composed or holds moments alone: compose files that `learn` wrote.")
        learned.append(source)
    return PromptComposition(tuple(learned), None if weights is None else tuple(weights), kind=kind)


def _reweighted(source: PromptSource, path: Path, weights: Sequence[float] | None) -> PromptSource:
    if weights is None:
        return source
    if not isinstance(source, PromptComposition):
        raise UserError(f"weights are for several distributions, but {path} is one: leave them out or name more files.")
    return replace(source, weights=tuple(weights))
