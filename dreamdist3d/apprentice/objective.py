"""What an apprentice is taught by: captions' words, the frozen UNet, and pictures of experts.

All three go through the frozen text encoder, because two equally good experts of one cluster have different tokens:
what is imitated is what their tokens do.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from dreamdist3d.apprentice.bank import Bank, Cluster
from dreamdist3d.apprentice.inputs import patches_of
from dreamdist3d.apprentice.network import Apprentice
from dreamdist3d.backbones import Backbone, add_noise, diffusion_target
from dreamdist3d.prompts.encoder import SoftPromptEncoder
from dreamdist3d.prompts.learning.coupling import LIMIT, Coupling
from dreamdist3d.prompts.moments import Moments

SIZES = (1, 2, 3, 4, 5, 6, 8, 8, 12, 16, 20)  # pictures of a cluster in one step
PICTURES, SAMPLES = 64, 32  # of a step, over all its clusters: seen, and denoised
TRUE_SHARE = 0.3  # of the target; the rest is what the UNet predicts under the caption
FEW = 8  # pictures at most that an expert's is learned with; SuTI trains with three, and is then given up to ten
EDIT_FROM = 0.2  # of the schedule: what noise leaves of a picture must not contradict the edit


@dataclass(frozen=True)
class Shown:
    """A step's clusters, as many pictures of each."""

    clusters: list[Cluster]
    places: list[list[int]]  # [C][N], in the bank
    inputs: Tensor  # [C, N, P, F]
    latents: Tensor  # [C, N, c, h, w]


@dataclass(frozen=True)
class Example:
    """A picture that an expert made: of a cluster, of the object in one of its pictures, under words not its own."""

    cluster: str
    home: int  # a place in the bank
    prefix: str
    latents: Tensor  # [c, h, w]


class Lessons:
    """Losses of an apprentice, each a function of a generator seeded for its step."""

    def __init__(
        self, apprentice: Apprentice, backbone: Backbone, bank: Bank, examples: Sequence[Example] = ()
    ) -> None:
        self._apprentice, self._backbone, self._bank, self._examples = apprentice, backbone, bank, list(examples)
        self._encoder = SoftPromptEncoder(backbone.tokenizer, backbone.text_encoder)
        train = bank.split("train")
        self._of_size = {size: [c for c in train if len(c.pictures) >= size] for size in set(SIZES)}
        self._sizes = [size for size in SIZES if self._of_size[size]]
        self._few = [size for size in SIZES if size <= FEW]
        self._by_name = {cluster.name: cluster for cluster in train}

    def words(self, generator: torch.Generator) -> dict[str, Tensor]:
        """Mean squared distance of encoded prompts from encoded captions of as many words (0 where there are none)."""
        shown = self._shown(on_cpu(generator))
        tokens = self._apprentice(shown.inputs).flatten(0, 1)  # [C N, M, d]
        places = [place for row in shown.places for place in row]
        captions = [self._bank.pictures[place].words for place in places]
        rows = [row for row, caption in enumerate(captions) if self._fits(caption)]
        if not rows:
            return {"loss": tokens.square().mean() * 0}
        with torch.no_grad():
            wanted = self._encoder.encode_text([captions[row] for row in rows]).hidden
        return {"loss": F.mse_loss(self._encoder.encode(tokens[rows]).hidden.float(), wanted.float())}

    def pictures(self, generator: torch.Generator) -> dict[str, Tensor]:
        """Denoising under prompts alone and under draws, each with its picture, as in coupled learning."""
        drawing = on_cpu(generator)
        shown = self._shown(drawing)
        text, chosen = self._prompts(shown, "", drawing)
        captions = [self._caption(place, drawing) for place in chosen]
        return {"loss": self._denoised(text, self._latents(chosen), captions, TRUE_SHARE, 0.0, drawing)}

    def edits(self, generator: torch.Generator) -> dict[str, Tensor]:
        """As `pictures` with words before the tokens: what the UNet predicts under the edited caption."""
        drawing = on_cpu(generator)
        shown = self._shown(drawing)
        prefix = _one_of(self._bank.mined.prefixes, drawing)
        text, chosen = self._prompts(shown, prefix, drawing)
        captions = [self._bank.pictures[place].edited.format(prefix) for place in chosen]
        return {"loss": self._denoised(text, self._latents(chosen), captions, 0.0, EDIT_FROM, drawing)}

    def experts(self, generator: torch.Generator) -> dict[str, Tensor]:
        """Denoising of pictures that experts made under other words (SuTI, equation 5)."""
        drawing = on_cpu(generator)
        size = min(SAMPLES, len(self._examples))
        picked = [self._examples[i] for i in torch.randperm(len(self._examples), generator=drawing)[:size].tolist()]
        text, latents = self._of_examples(picked, _one_of(self._few, drawing), drawing)
        return {"loss": self._denoised(text, latents, None, 1.0, 0.0, drawing)}

    def _of_examples(self, examples: Sequence[Example], size: int, drawing: torch.Generator) -> tuple[Tensor, Tensor]:
        """The prompt of each example's home, seen among `size` pictures of its cluster, [n, L, D]; its latents."""
        groups: dict[tuple[int, str], list[tuple[list[int], Tensor]]] = defaultdict(list)
        for one in examples:
            places = self._demonstrations(one, size, drawing)
            groups[len(places), one.prefix].append((places, one.latents))
        rows = []
        for (count, prefix), members in groups.items():
            inputs = self._inputs([place for places, _ in members for place in places])
            homes = torch.zeros(len(members), 1, dtype=torch.int64, device=inputs.device)
            tokens = self._apprentice(inputs.unflatten(0, (len(members), count)), homes)[:, 0]
            rows.append((self._encoder.encode(tokens, prefix).hidden.float(), torch.stack([z for _, z in members])))
        text, latents = (torch.cat(parts) for parts in zip(*rows, strict=True))
        return text, latents.to(text.device)

    def _demonstrations(self, example: Example, size: int, drawing: torch.Generator) -> list[int]:
        """An example's home, and as many others of its cluster as there are up to `size` in all."""
        others = [place for place in self._by_name[example.cluster].pictures if place != example.home]
        chosen = torch.randperm(len(others), generator=drawing)[: size - 1].tolist()
        return [example.home, *(others[i] for i in chosen)]

    def _shown(self, drawing: torch.Generator) -> Shown:
        size = _one_of(self._sizes, drawing)
        count = max(2, min(16, PICTURES // size))
        clusters = [_one_of(self._of_size[size], drawing) for _ in range(count)]
        places = [[c.pictures[i] for i in torch.randperm(len(c.pictures), generator=drawing)[:size]] for c in clusters]
        flat = [place for row in places for place in row]
        latents = self._latents(flat)
        return Shown(
            clusters,
            places,
            self._inputs(flat, latents).unflatten(0, (count, size)),
            latents.unflatten(0, (count, size)),
        )

    def _prompts(self, shown: Shown, prefix: str, drawing: torch.Generator) -> tuple[Tensor, list[int]]:
        """Prompts [B, L, D], and the place of the picture that each of them belongs to."""
        clusters, size = shown.latents.shape[:2]
        tokens = self._apprentice(shown.inputs)
        hidden = self._encoder.encode(tokens.flatten(0, 1), prefix).hidden.float().unflatten(0, (clusters, size))
        texts, chosen = [], []
        for row, cluster in enumerate(shown.clusters):
            first, last = row * SAMPLES // clusters, (row + 1) * SAMPLES // clusters
            alone = last - first if size == 1 else -(-(last - first) // 2)
            homes = torch.randint(size, (alone,), generator=drawing)
            texts.append(hidden[row, homes.to(hidden.device)])
            chosen += [self._target(cluster, shown.places[row][i], drawing) for i in homes.tolist()]
            if (drawn := last - first - alone) > 0:
                omega = torch.randn(drawn, size, generator=drawing)
                texts.append(Moments.of(hidden[row], "low_rank", limit=LIMIT).embed(omega))
                chosen += [shown.places[row][i] for i in Coupling(shown.latents[row], size).nearest(omega).tolist()]
        return torch.cat(texts), chosen

    def _target(self, cluster: Cluster, home: int, drawing: torch.Generator) -> int:
        """The home itself, or, where a cluster is one instance, any picture of it."""
        return _one_of(cluster.targets, drawing) if cluster.targets else home

    def _denoised(
        self,
        text: Tensor,  # [B, L, D]
        latents: Tensor,  # [B, c, h, w]
        captions: Sequence[str] | None,
        true_share: float,
        first: float,
        drawing: torch.Generator,
    ) -> Tensor:
        """Mean squared distance from `true_share` of the true target and else the UNet's own answer to the captions."""
        backbone = self._backbone
        times = len(backbone.alphas_cumprod)
        timesteps = torch.randint(int(first * times), times, (len(text),), generator=drawing).to(backbone.device)
        noise = torch.randn(latents.shape, generator=drawing).to(latents)
        noisy = add_noise(backbone, latents, noise, timesteps)
        target = diffusion_target(backbone, latents, noise, timesteps)
        if captions is not None:
            target = self._taught(noisy, timesteps, captions, target, true_share)
        return F.mse_loss(backbone.predict(noisy, timesteps, text).float(), target.float())

    @torch.no_grad()
    def _taught(
        self, noisy: Tensor, timesteps: Tensor, captions: Sequence[str], target: Tensor, true_share: float
    ) -> Tensor:
        said = torch.tensor([bool(caption) for caption in captions], device=noisy.device)[:, None, None, None]
        text = self._encoder.encode_text(captions).hidden
        answer = self._backbone.predict(noisy, timesteps, text).float()
        return torch.where(said, true_share * target + (1 - true_share) * answer, target)

    def _caption(self, place: int, drawing: torch.Generator) -> str:
        captions = self._bank.pictures[place].captions
        return _one_of(captions[:2], drawing) if captions else ""  # the fullest come first

    def _latents(self, places: Sequence[int]) -> Tensor:
        return self._bank.latents(places).to(self._backbone.device)

    def _inputs(self, places: Sequence[int], latents: Tensor | None = None) -> Tensor:
        inputs = self._bank.inputs(places)
        if inputs is None:
            return patches_of(self._latents(places) if latents is None else latents)
        return inputs.to(self._backbone.device)

    def _fits(self, caption: str) -> bool:
        return bool(caption) and len(self._encoder.words(caption)) == self._apprentice.config.tokens


def on_cpu(generator: torch.Generator) -> torch.Generator:
    """A generator of the CPU that depends on the step's alone: a GPU draws other numbers from equal seeds."""
    if generator.device.type == "cpu":
        return generator
    return torch.Generator().manual_seed(generator.initial_seed())


def _one_of(values: Sequence[Any], drawing: torch.Generator) -> Any:
    return values[int(torch.randint(len(values), (1,), generator=drawing))]
