"""One look at a learned distribution: what its tokens say, how they spread, whether they are healthy."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from torch import Tensor

from dreamdist3d.backbones import shortened
from dreamdist3d.errors import UserError
from dreamdist3d.files import write_atomic
from dreamdist3d.prompts.distribution import PromptDistribution
from dreamdist3d.prompts.encoder import SoftPromptEncoder
from dreamdist3d.prompts.moments import Moments

# Norms beyond this many times the longest word's are far outside all that the text encoder was trained on.
INFLATED = 3.0
_COLOR, _QUIET = "#2d657e", "#808286"


@dataclass(frozen=True)
class Nearest:
    """A word of the vocabulary and its cosine similarity with a learned token."""

    word: str
    cosine: float


@dataclass(frozen=True, eq=False)
class Interpretation:
    """Facts about a distribution's tokens, beside the vocabulary they live in."""

    prompts: list[list[Nearest]]  # [K][M], the nearest word of every token
    mean: list[list[Nearest]]  # [M][some], the nearest words of each position's mean over K
    norms: Tensor  # [K, M], length of every token
    word_norms: Tensor  # [V], length of every word of the vocabulary

    @property
    def inflation(self) -> float:
        """Median length of the tokens over the longest word's; near or below 1 when all is well."""
        return float(self.norms.median() / self.word_norms.max())

    @property
    def warning(self) -> str | None:
        """One line when the norms have inflated, else None."""
        if self.inflation <= INFLATED:
            return None
        return (
            f"the tokens are {self.inflation:.1f} times as long as the longest word of the vocabulary: they have left "
            "the range the text encoder knows, and edits by words may have no effect. Learn again with a smaller "
            "--lr or fewer --steps."
        )


@torch.no_grad()
def interpret(distribution: PromptDistribution, encoder: SoftPromptEncoder, words: int = 5) -> Interpretation:
    """Nearest words by cosine at the encoder's input (DreamDistribution, appendix), and token lengths.

    Args:
        words: how many for each position of the mean.

    Raises:
        UserError: the encoder has another width.
    """
    tokens = distribution.tokens
    vocabulary, names = encoder.vocabulary()
    if tokens.shape[-1] != vocabulary.shape[-1]:
        raise UserError(
            f"the tokens are {tokens.shape[-1]} wide, this text encoder's words {vocabulary.shape[-1]}: "
            "use the backbone they were learned with."
        )
    return Interpretation(
        prompts=[[found[0] for found in row] for row in _nearest(tokens, vocabulary, names, 1)],
        mean=_nearest(tokens.mean(0, keepdim=True), vocabulary, names, words)[0],
        norms=tokens.norm(dim=-1),
        word_norms=vocabulary.norm(dim=-1),
    )


def _nearest(tokens: Tensor, vocabulary: Tensor, names: list[str], count: int) -> list[list[list[Nearest]]]:
    cosines = F.normalize(tokens, dim=-1) @ F.normalize(vocabulary, dim=-1).T  # [K, M, V]
    found = cosines.topk(min(count, len(names)), dim=-1)
    return [
        [
            [Nearest(names[i], float(c)) for c, i in zip(values, indices, strict=True)]
            for values, indices in zip(row_values, row_indices, strict=True)
        ]
        for row_values, row_indices in zip(found.values.tolist(), found.indices.tolist(), strict=True)
    ]


@dataclass(frozen=True, eq=False)
class Inspection:
    """What there is to see in a distribution."""

    interpretation: Interpretation
    sigma: Tensor  # [L], root mean square over channels of sigma at each position
    end: int  # position of the end-of-text mark
    cosines: Tensor  # [K, K], of the prompts' pooled features


@torch.no_grad()
def inspect(distribution: PromptDistribution, encoder: SoftPromptEncoder) -> Inspection:
    """Look at a distribution under its stored words.

    Raises:
        UserError: the encoder has another width, or its answer is not finite.
    """
    interpretation = interpret(distribution, encoder)
    features = distribution.features(encoder)
    end = int(features.ends[0])
    moments = Moments.of(features.hidden, distribution.covariance, end)
    pooled = F.normalize(features.pooled.float(), dim=-1)
    return Inspection(interpretation, moments.sigma.square().mean(-1).sqrt().cpu(), end, (pooled @ pooled.T).cpu())


def print_inspection(distribution: PromptDistribution, inspection: Inspection, title: str) -> None:
    """Facts and nearest words on stdout, and the warning, if there is one, on stderr."""
    count, length, width = distribution.tokens.shape
    found = inspection.interpretation
    words = found.word_norms
    off_diagonal = inspection.cosines[~torch.eye(count, dtype=torch.bool)]
    facts = {
        "prompts x tokens x width": f"{count} x {length} x {width}",
        "covariance": distribution.covariance,
        "limit": "none" if distribution.limit is None else f"{distribution.limit:g} times the prompts' median distance",
        "prefix, suffix": f"{distribution.prefix!r}, {distribution.suffix!r}",
        "text encoder": shortened(distribution.encoder_fingerprint),
        "token length": f"{found.norms.min():.3f} to {found.norms.max():.3f}, median {found.norms.median():.3f}",
        "word length": f"{words.min():.3f} to {words.max():.3f}, median {words.median():.3f}",
        "sigma": f"{inspection.sigma.square().mean().sqrt():.4f} (root mean square)",
        "cosine between prompts": f"mean {off_diagonal.mean():.3f}" if count > 1 else "one prompt alone",
        **dict(sorted(distribution.metadata.items())),
    }
    console = Console()
    console.print(_facts_table(title, facts), _words_table(found))
    if found.warning:
        Console(stderr=True).print(f"warning: {found.warning}", style="yellow", soft_wrap=True)


def _facts_table(title: str, facts: dict[str, str]) -> Table:
    table = Table(title=escape(title), show_header=False, box=None, title_justify="left")
    for name, value in facts.items():
        table.add_row(escape(name), escape(value))
    return table


def _words_table(found: Interpretation) -> Table:
    table = Table(title="Nearest words (cosine)", title_justify="left", box=None)
    table.add_column("prompt")
    for position in range(len(found.mean)):
        table.add_column(f"token {position + 1}")
    # The words nearest to the mean tell most of the family.
    table.add_row("mean", *(", ".join(escape(_shown(n)) for n in words) for words in found.mean))
    for index, row in enumerate(found.prompts):
        table.add_row(str(index), *(escape(_shown(nearest)) for nearest in row))
    return table


def _shown(nearest: Nearest) -> str:
    return f"{nearest.word} {nearest.cosine:.2f}"


def save_plots(inspection: Inspection, title: str, path: Path) -> None:
    """Sigma per position, the K x K cosine matrix and the token lengths, as one PNG.

    Raises:
        UserError: `path` cannot be written.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 4), layout="constrained")
    figure.suptitle(title, fontsize=11)
    spread, matrix, lengths = figure.subplots(1, 3, width_ratios=(1.5, 1.1, 1.2))
    _plot_sigma(spread, inspection)
    _plot_cosines(matrix, inspection.cosines)
    _plot_lengths(lengths, inspection.interpretation)
    write_atomic(path, lambda temporary: figure.savefig(temporary, format="png", dpi=120))


def _plot_sigma(axes, inspection: Inspection) -> None:
    axes.bar(range(len(inspection.sigma)), inspection.sigma.numpy(), color=_COLOR, width=0.9)
    axes.axvline(inspection.end, color=_QUIET, linestyle=":", label="end of text")
    axes.set(xlabel="position", ylabel="sigma (root mean square)", title="Where the prompts differ")
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)


def _plot_cosines(axes, cosines: Tensor) -> None:
    image = axes.imshow(cosines.numpy(), vmin=-1, vmax=1, cmap="RdBu_r")
    axes.set(xlabel="prompt", ylabel="prompt", title="Cosine of pooled features")
    axes.figure.colorbar(image, ax=axes, shrink=0.85)


def _plot_lengths(axes, interpretation: Interpretation) -> None:
    learned, words = interpretation.norms.flatten().numpy(), interpretation.word_norms.numpy()
    bins = np.linspace(0, max(learned.max(), words.max()), 40)
    axes.hist(words, bins, color=_QUIET, alpha=0.6, density=True, label="vocabulary")
    axes.hist(learned, bins, color=_COLOR, alpha=0.8, density=True, label="learned tokens")
    axes.set(xlabel="length", ylabel="density", title="Length of embeddings")
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
