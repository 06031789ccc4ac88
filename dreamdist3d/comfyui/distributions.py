"""What nodes do with distributions without an encoder of their own."""

import torch

from dreamdist3d.choices import CompositionKind
from dreamdist3d.errors import UserError
from dreamdist3d.prompts import PromptComposition, PromptDistribution
from dreamdist3d.prompts.encoder import SoftPromptEncoder
from dreamdist3d.prompts.looks.inspection import inspect
from dreamdist3d.prompts.source import PromptSource


def mixed(first: PromptSource, second: PromptSource, share: float, kind: CompositionKind) -> PromptComposition:
    """Two as one, `share` of it the first; what is a composition of the same kind is taken apart, so that mixes chain.

    Raises:
        UserError: moments alone, a composition of the other kind, or what `PromptComposition` refuses.
    """
    components: list[PromptDistribution] = []
    weights: list[float] = []
    gammas: list[float] = []
    for source, part in ((first, share), (second, 1.0 - share)):
        if isinstance(source, PromptComposition) and source.kind == kind:
            components += source.components
            weights += [part * weight for weight in source.weights or ()]
            gammas += source.gammas or ()
        elif isinstance(source, PromptDistribution):
            components.append(source)
            weights.append(part)
            gammas.append(1.0)
        else:
            raise UserError(f"a {kind} is made of what `dreamdist3d learn` wrote, or of {kind}s of such files.")
    return PromptComposition(tuple(components), tuple(weights), tuple(gammas), kind)


@torch.no_grad()
def told(source: PromptSource, encoder: SoftPromptEncoder) -> str:
    """A distribution in a few lines: nearest words, sizes, lengths, spread, and a warning if something is off.

    Raises:
        UserError: the encoder has another width, or its answer is not finite.
    """
    if isinstance(source, PromptComposition):
        weights = source.weights or ()
        parts = [f"{weight:.2f} of:\n{told(c, encoder)}" for weight, c in zip(weights, source.components, strict=True)]
        return "\n\n".join([f"a {source.kind}", *parts])
    if not isinstance(source, PromptDistribution):
        return "moments alone, without the tokens they come from"
    seen = inspect(source, encoder)
    count, length, _ = source.tokens.shape
    found = seen.interpretation
    lines = [
        f"{count} prompts of {length} tokens, {source.covariance}, learned with {source.metadata.get('backbone', '?')}",
        f"prefix {source.prefix!r}, suffix {source.suffix!r}",
        "nearest words: " + " | ".join(", ".join(near.word for near in position) for position in found.mean),
        f"token length {found.norms.median():.3f}, words {found.word_norms.median():.3f} (medians)",
        f"sigma {seen.sigma.square().mean().sqrt():.4f}",
    ]
    return "\n".join([*lines, f"warning: {found.warning}"] if found.warning else lines)
