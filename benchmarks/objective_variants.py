"""What the study of objectives compares: every variant is the shipped coupled learning with one thing changed.

A `Trial` is one learning: its tokens, what it draws in a step, and its loss. Trials share the frozen models, so many
of them learn in one stack: their prompts go through the text encoder together and their samples through the UNet.
"""

import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, fields

import torch
import torch.nn.functional as F
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from dreamdist3d.backbones import Backbone, add_noise, diffusion_target
from dreamdist3d.progress import bar
from dreamdist3d.prompts import SoftPromptEncoder
from dreamdist3d.prompts.learning.coupling import pairs_of, shuffled_rounds
from dreamdist3d.prompts.learning.objective import min_snr_weight, orthogonality
from dreamdist3d.prompts.normal import standard_normal
from dreamdist3d.randomness import generator_for

INIT_STD = 0.02
BALANCING_DRAWS = 8192


@dataclass(frozen=True)
class Family:
    """What a trial learns from, and what a plug-in may know of it."""

    name: str
    latents: Tensor  # [N, c, h, w], float32 on the CPU
    features: dict[str, Tensor] = field(default_factory=dict)  # "clip", "dino": [N, D]


@dataclass(frozen=True)
class Variant:
    """One way to learn; the defaults are coupled learning as the issue's trial had it, at 32 samples a step."""

    prompts: int = 32  # K
    tokens: int = 4  # M
    steps: int = 250
    lr: float = 5e-3
    ortho: float = 5e-3
    batch: int = 32  # pictures a step
    samples: int = 1  # draws for each of them
    references: int = 20  # the first so many pictures
    class_word: bool = False  # the family's name stands behind the tokens
    homes: float = 0.5  # share of samples in which prompt k meets its own picture; 0 with `random`: the paper
    pairing: str = "nearest"  # which picture a random draw meets: random, nearest, balanced, minibatch, soft
    loose: float = 0.0  # share of random draws that meet any picture, whatever belongs to them
    space: str = "latents"  # where nearest is measured: latents, clip, dino
    draws: str = "gaussian"  # or convex: softmax(sharpness omega) over the prompts; or diagonal
    sharpness: float = 3.0  # of convex draws
    scales: tuple[float, float] = (1.0, 1.0)  # gammas of the random draws in learning, uniform
    times: Callable[[Tensor], Tensor] | None = None  # uniform [0, 1) -> [0, 1): where timesteps fall
    min_snr: float | None = None
    start: str = "noise"  # or words: each token starts as a random word; or shared: all prompts start (nearly) as one
    hold_norm: bool = False  # tokens keep the words' median length (Directional Textual Inversion)
    importance: float | None = None  # tau of -tau log mean exp(-e / tau) over a picture's draws
    agree: float = 0.0  # weight of: a random draw predicts what its picture's own prompt predicts
    rank: int = 0  # draws move along the so many strongest principal directions of the prompts; 0: along all
    even: bool = False  # prompts that lie farther from the mean than their median distance count as if at it
    limit: float = 0.0  # and no farther from the mean than so many times the prompts' median distance; 0: any
    shell: bool = False  # every draw lies gamma times the prompts' median distance from the mean
    learned_as: str = ""  # another variant, whose learning this one draws from
    shaped_learning: bool = (
        False  # rank, even and limit hold in learning too, not only for the draws of the finished file
    )
    gammas: tuple[float, ...] = (0.5, 0.8, 1.0, 1.25, 1.5, 2.0)

    def weights(self, omega: Tensor, gamma: float | Tensor = 1.0) -> Tensor:
        """[B, K] of standard normal [B, K]: the draw is mu + sum_k w_k (h_k - mu)."""
        if self.draws == "convex":
            return torch.softmax(self.sharpness * gamma * omega, dim=1)
        return gamma * omega / math.sqrt(max(1, self.prompts - 1))

    def embed(self, hidden: Tensor, omega: Tensor, gamma: float = 1.0) -> Tensor:
        """Prompts [B, L, D] of encoded [K, L, D]."""
        mu = hidden.mean(0)
        if self.draws == "diagonal":
            return mu + gamma * omega.to(mu) * hidden.std(0, correction=0)
        weights = self.shaped(hidden, self.weights(omega.to(mu), gamma), gamma)
        return mu + torch.einsum("bk,kld->bld", weights, hidden - mu)

    @torch.no_grad()
    def shaped(self, hidden: Tensor, weights: Tensor, gamma: float = 1.0) -> Tensor:
        """Weights [B, K] brought into the strongest directions and within the limit, or onto the shell."""
        deviation = (hidden - hidden.mean(0)).flatten(1)
        lengths = deviation.norm(dim=1)
        if self.even:
            weights = weights * (lengths.median() / lengths.clamp(min=1e-9)).clamp(max=1)
        if self.rank:
            vectors = torch.linalg.eigh((deviation @ deviation.T).double()).eigenvectors[:, -self.rank :].to(weights)
            weights = weights @ vectors @ vectors.T
        if self.limit or self.shell:
            farthest = (gamma if self.shell else self.limit) * lengths.median()
            scale = farthest / (weights @ deviation).norm(dim=1, keepdim=True).clamp(min=1e-9)
            weights = weights * (scale if self.shell else scale.clamp(max=1))
        return weights

    def omega_shape(self, hidden: Tensor) -> tuple[int, ...]:
        return tuple(hidden.shape[1:]) if self.draws == "diagonal" else tuple(hidden.shape[:1])

    def omegas(self, hidden: Tensor, count: int) -> Tensor:
        """The draws 0, 1, ... that `PromptDistribution.draw` makes."""
        return torch.stack([standard_normal(seed, self.omega_shape(hidden)) for seed in range(count)])


def _high(u: Tensor) -> Tensor:
    """Three quarters of the timesteps in the upper half, where colours and shapes are decided."""
    return u.sqrt()


_PAPER = {"homes": 0.0, "pairing": "random", "batch": 16, "samples": 2}
_CONVEX = {"draws": "convex", "gammas": (0.25, 0.5, 0.8, 1.0, 1.5, 2.0)}
VARIANTS: dict[str, Variant] = {
    "paper": Variant(**_PAPER),
    "paper-diagonal": Variant(**_PAPER, draws="diagonal"),
    "coupled": Variant(),
    "balanced": Variant(pairing="balanced"),
    "limit": Variant(limit=1.0, learned_as="coupled"),
    "limit-0.8": Variant(limit=0.8, learned_as="coupled"),
    "limit-1.2": Variant(limit=1.2, learned_as="coupled"),
    "even": Variant(even=True, learned_as="coupled"),
    "even-limit": Variant(even=True, limit=1.0, learned_as="coupled"),
    "even-limit-1.2": Variant(even=True, limit=1.2, learned_as="coupled"),
    "even-learned": Variant(even=True, shaped_learning=True),
    "even-limit-learned": Variant(even=True, limit=1.0, learned_as="even-learned"),
    "shell": Variant(shell=True, learned_as="coupled"),
    "rank-12": Variant(rank=12, learned_as="coupled"),
    "rank-12-limit": Variant(rank=12, limit=1.0, learned_as="coupled"),
    "rank-8-limit": Variant(rank=8, limit=1.0, learned_as="coupled"),
    "balanced-even-limit": Variant(pairing="balanced", even=True, limit=1.0, learned_as="balanced"),
    "scales-even": Variant(scales=(0.0, 1.5), even=True, learned_as="scales"),
    "paper-even": Variant(**_PAPER, even=True, learned_as="paper"),
    "balanced-limit": Variant(pairing="balanced", limit=1.0, learned_as="balanced"),
    "limit-learned": Variant(limit=1.0, shaped_learning=True),
    "rank-12-limit-learned": Variant(rank=12, limit=1.0, shaped_learning=True),
    "paper-limit": Variant(**_PAPER, limit=1.0, learned_as="paper"),
    "convex-2": Variant(**_CONVEX, sharpness=2.0),
    "convex-3": Variant(**_CONVEX, sharpness=3.0),
    "convex-4": Variant(**_CONVEX, sharpness=4.0),
    "convex-3-balanced": Variant(**_CONVEX, pairing="balanced"),
    "norm": Variant(hold_norm=True),
    "words": Variant(start="words"),
    "words-norm": Variant(start="words", hold_norm=True),
    "shared": Variant(start="shared"),
    "shared-words": Variant(start="shared-words"),
    "scales": Variant(scales=(0.0, 1.5)),
    "scales-limit": Variant(scales=(0.0, 1.5), limit=1.0, learned_as="scales"),
    "high-times": Variant(times=_high),
    "homes-0": Variant(homes=0.0),
    "homes-0.25": Variant(homes=0.25),
    "homes-0.75": Variant(homes=0.75),
    "homes-1": Variant(homes=1.0),
    "clip": Variant(space="clip"),
    "dino": Variant(space="dino"),
    "soft": Variant(pairing="soft"),
    "minibatch": Variant(pairing="minibatch"),
    "loose-0.3": Variant(loose=0.3),
    "loose-0.6": Variant(loose=0.6),
    "loose-0.3-homes-0.25": Variant(loose=0.3, homes=0.25),
    "ortho-0": Variant(ortho=0.0),
    "ortho-0.05": Variant(ortho=0.05),
    "ortho-0.5": Variant(ortho=0.5),
    "agree-1": Variant(agree=1.0),
    "class-word": Variant(class_word=True),
    "min-snr": Variant(min_snr=5.0),
    "steps-500": Variant(steps=500),
    "steps-1000": Variant(steps=1000),
    "prompts-8": Variant(prompts=8),
    "prompts-20": Variant(prompts=20),
    "prompts-64": Variant(prompts=64),
    "pictures-4": Variant(references=4),
    "pictures-8": Variant(references=8),
    "pictures-100": Variant(references=100),
    "lr-2e-3": Variant(lr=2e-3),
    "tokens-1": Variant(tokens=1),
    "tokens-8": Variant(tokens=8),
    "importance": Variant(**_PAPER | {"batch": 8, "samples": 4}, importance=0.03),
}


@dataclass(frozen=True, eq=False)
class Samples:
    """What a trial asks of the UNet in one step: B samples."""

    latents: Tensor  # [B, c, h, w]
    noise: Tensor
    timesteps: Tensor  # [B]
    weights: Tensor  # [B, K] of `Variant.weights`; [B, L, D] of omega for `diagonal`
    prompt: Tensor  # [B] the prompt whose picture this is
    random: Tensor  # bool [B], False for a prompt with its own picture

    def to(self, device: torch.device) -> "Samples":
        return Samples(*(getattr(self, f.name).to(device, non_blocking=True) for f in fields(self)))


class Trial:
    """One learning: a variant, a family and a seed."""

    def __init__(self, variant: Variant, family: Family, seed: int, encoder: SoftPromptEncoder, timesteps: int) -> None:
        self.variant, self.seed, self.timesteps = variant, seed, timesteps
        self.suffix = family.name if variant.class_word else ""
        self.latents = family.latents[: variant.references]
        shape = (variant.prompts, variant.tokens, encoder.width)
        words = encoder.vocabulary()[0]
        self.word_length = float(words.norm(dim=1).median())
        generator = generator_for(seed, "tokens")
        tokens = torch.randn(shape, generator=generator) * INIT_STD
        if variant.start == "shared":
            tokens = tokens[:1] + 0.1 * tokens
        if variant.start == "words":
            tokens = words[torch.randint(len(words), shape[:2], generator=generator)]
        if variant.start == "shared-words":
            tokens = words[torch.randint(len(words), shape[1:2], generator=generator)] + 0.1 * tokens
        self.tokens = tokens
        self.pairs = pairs_of(variant.prompts, len(self.latents))  # [P, 2] prompt, picture
        self.prompt_of = torch.tensor([int(self.pairs[self.pairs[:, 1] == i][0, 0]) for i in range(len(self.latents))])
        self._coupling = self._measured(family) if variant.pairing != "random" else None

    def _measured(self, family: Family) -> tuple[Tensor, Tensor]:
        """Scores of pictures are `weights @ gram + bias`, largest where the mix of the prompts' pictures is nearest."""
        variant = self.variant
        points = self.latents if variant.space == "latents" else family.features[variant.space][: len(self.latents)]
        points = points.flatten(1).double()
        member = torch.zeros(variant.prompts, len(points), dtype=torch.float64)
        member[self.pairs[:, 0], self.pairs[:, 1]] = 1
        own = (member / member.sum(1, keepdim=True)) @ points
        center = own.mean(0)
        gram = (own - center) @ (points - center).T
        bias = -(points - center).square().sum(1) / 2
        if variant.pairing == "balanced":
            omega = torch.randn(BALANCING_DRAWS, variant.prompts, generator=generator_for(0, "balance")).double()
            bias = balanced(variant.weights(omega) @ gram, bias)
        return gram.float(), bias.float()

    def draw(self, step: int, hidden_shape: tuple[int, int]) -> Samples:
        """All randomness of a step, from (seed, step) alone; of the plain variant, what the library draws."""
        variant = self.variant
        count = variant.batch * variant.samples
        first, last = (math.floor((step + n) * variant.batch * variant.homes) for n in (0, 1))
        own = last - first
        chosen = self.pairs[shuffled_rounds(len(self.pairs), first, last, self.seed)].view(-1, 2)
        generator = generator_for(self.seed, "omega", step)
        shape = hidden_shape if variant.draws == "diagonal" else (variant.prompts,)
        omega = torch.randn((count - own, *shape), generator=generator)
        low, high = variant.scales
        gamma = low + (high - low) * torch.rand(count - own, 1, generator=generator)
        weights = omega if variant.draws == "diagonal" else variant.weights(omega, gamma)
        pictures = self._pictures(weights, step, generator)
        alone = torch.eye(variant.prompts)[chosen[:, 0]] if own else weights[:0]
        latents = self.latents[torch.cat([chosen[:, 1], pictures])]
        generator = generator_for(self.seed, "step", step)
        noise = torch.randn(variant.batch, *latents.shape[1:], generator=generator)
        times = torch.randint(self.timesteps, (variant.batch,), generator=generator)
        if variant.times is not None:
            times = (variant.times(times / self.timesteps) * self.timesteps).long()
        return Samples(
            latents,
            noise.repeat_interleave(variant.samples, 0),
            times.repeat_interleave(variant.samples, 0),
            torch.cat([alone, weights]),
            torch.cat([chosen[:, 0], self.prompt_of[pictures]]),
            torch.arange(count) >= own,
        )

    def _pictures(self, weights: Tensor, step: int, generator: torch.Generator) -> Tensor:
        """Which picture each random draw meets: [B]."""
        variant, count = self.variant, len(self.latents)
        if self._coupling is None:
            batch = torch.tensor(_round(count, len(weights) // variant.samples, step, self.seed))
            return batch.repeat_interleave(variant.samples)
        gram, bias = self._coupling
        scores = weights @ gram + bias
        if variant.pairing == "soft":
            spread = bias.neg().mean()
            return torch.multinomial(torch.softmax(4 * scores / spread, 1), 1, generator=generator)[:, 0]
        if variant.pairing == "minibatch":
            batch = torch.tensor(_round(count, len(weights), step, self.seed))
            rows, columns = linear_sum_assignment(-scores[:, batch].numpy())
            return batch[torch.from_numpy(columns)[torch.from_numpy(rows).argsort()]]
        nearest = scores.argmax(1)
        if not variant.loose:
            return nearest
        anyone = torch.randint(count, nearest.shape, generator=generator)
        return torch.where(torch.rand(nearest.shape, generator=generator) < variant.loose, anyone, nearest)

    def text(self, hidden: Tensor, samples: Samples) -> Tensor:
        """[B, L, D] of this step's encoded prompts."""
        mu = hidden.mean(0)
        weights = samples.weights.to(mu)
        if self.variant.draws == "diagonal":
            return mu + weights * hidden.std(0, correction=0)
        if self.variant.shaped_learning:
            weights = torch.where(samples.random[:, None], self.variant.shaped(hidden, weights), weights)
        return mu + torch.einsum("bk,kld->bld", weights, hidden - mu)

    def loss(self, errors: Tensor, pooled: Tensor) -> Tensor:
        """Of the samples' squared errors [B]."""
        variant = self.variant
        if variant.importance:
            scaled = -errors.unflatten(0, (variant.batch, variant.samples)) / variant.importance
            errors = -variant.importance * (torch.logsumexp(scaled, 1) - math.log(variant.samples))
        loss = errors.mean()
        return loss + variant.ortho * orthogonality(pooled) if variant.prompts > 1 else loss

    def time_weights(self, backbone: Backbone, timesteps: Tensor) -> Tensor | float:
        """[B]"""
        if self.variant.min_snr is None:
            return 1.0
        return min_snr_weight(backbone.alphas_cumprod[timesteps], self.variant.min_snr, backbone.prediction_type)

    @torch.no_grad()
    def after_step(self, tokens: Tensor) -> None:
        """What a variant does to its tokens in place."""
        if self.variant.hold_norm:
            tokens.copy_(F.normalize(tokens, dim=-1) * self.word_length)


def learn_together(backbone: Backbone, encoder: SoftPromptEncoder, trials: Sequence[Trial]) -> None:
    """Let all trials learn, in one stack: equal to one after the other but for the last bits."""
    device = backbone.device
    parameters = [trial.tokens.to(device).requires_grad_() for trial in trials]
    groups = [{"params": [p], "lr": t.variant.lr} for p, t in zip(parameters, trials, strict=True)]
    optimizer = torch.optim.AdamW(groups, weight_decay=0.0, foreach=True)
    shape = (encoder.max_length, encoder.width)
    steps = max(trial.variant.steps for trial in trials)
    with ThreadPoolExecutor(1) as ahead, bar("learning", steps) as progress:
        waiting = ahead.submit(lambda step: [trial.draw(step, shape) for trial in trials], 0)
        for step in range(steps):
            drawn = waiting.result()
            waiting = ahead.submit(lambda step: [trial.draw(step, shape) for trial in trials], step + 1)
            active = [n for n, trial in enumerate(trials) if trial.variant.steps > step]
            loss = _loss(backbone, encoder, [trials[n] for n in active], [parameters[n] for n in active],
                         [drawn[n].to(device) for n in active])  # fmt: skip
            optimizer.zero_grad(set_to_none=True)
            loss.backward(inputs=[parameters[n] for n in active])
            optimizer.step()
            for n in active:
                trials[n].after_step(parameters[n])
            progress.advance(f"loss {float(loss) / len(active):.4f}" if step % 10 == 9 else "")
    for trial, tokens in zip(trials, parameters, strict=True):
        trial.tokens = tokens.detach().cpu()


def _loss(
    backbone: Backbone,
    encoder: SoftPromptEncoder,
    trials: Sequence[Trial],
    tokens: Sequence[Tensor],
    drawn: Sequence[Samples],
) -> Tensor:
    """The sum of the trials' losses: one pass through the text encoder for each kind of words, one through the UNet."""
    hidden, pooled = _encoded(encoder, trials, tokens)
    text = torch.cat([t.text(h, s) for t, h, s in zip(trials, hidden, drawn, strict=True)])
    latents, noise, timesteps = (
        torch.cat([getattr(s, name) for s in drawn]) for name in ("latents", "noise", "timesteps")
    )
    noisy = add_noise(backbone, latents, noise, timesteps)
    prediction = backbone.predict(noisy, timesteps, text.to(backbone.dtype)).float()
    errors = (prediction - diffusion_target(backbone, latents, noise, timesteps)).square().flatten(1).mean(1)
    sizes = [len(s.latents) for s in drawn]
    parts = zip(trials, drawn, pooled, errors.split(sizes), timesteps.split(sizes), strict=True)
    loss = sum(trial.loss(e * trial.time_weights(backbone, t), p) for trial, _, p, e, t in parts)
    for trial, s, h, z, p in zip(trials, drawn, hidden, noisy.split(sizes), prediction.split(sizes), strict=True):
        if trial.variant.agree:
            with torch.no_grad():
                own = backbone.predict(z[s.random], s.timesteps[s.random], h[s.prompt[s.random]]).float()
            loss = loss + trial.variant.agree * (p[s.random] - own).square().mean()
    return loss


def _encoded(
    encoder: SoftPromptEncoder, trials: Sequence[Trial], tokens: Sequence[Tensor]
) -> tuple[list[Tensor], list[Tensor]]:
    """Each trial's hidden states [K, L, D] and pooled features [K, D], in float32."""
    hidden: list[Tensor] = [torch.empty(0)] * len(trials)
    pooled = list(hidden)
    kinds = {(trial.variant.tokens, trial.suffix) for trial in trials}
    for length, suffix in sorted(kinds):
        chosen = [n for n, t in enumerate(trials) if (t.variant.tokens, t.suffix) == (length, suffix)]
        features = encoder.encode(torch.cat([tokens[n] for n in chosen]), suffix=suffix)
        sizes = [trials[n].variant.prompts for n in chosen]
        for n, h, p in zip(chosen, features.hidden.split(sizes), features.pooled.split(sizes), strict=True):
            hidden[n], pooled[n] = h.float(), p.float()
    return hidden, pooled


def balanced(scores: Tensor, bias: Tensor, rounds: int = 300) -> Tensor:
    """The bias [N] under which every picture is the best of equally many of the draws, whose scores are [B, N]."""
    count = scores.shape[1]
    step = scores.std()
    for round_ in range(rounds):
        share = torch.bincount((scores + bias).argmax(1), minlength=count) / len(scores)
        bias = bias + step * (1 / count - share) * 4 / (1 + round_ / 30)
    return bias


def _round(count: int, batch: int, step: int, seed: int) -> list[int]:
    return shuffled_rounds(count, step * batch, (step + 1) * batch, seed)
