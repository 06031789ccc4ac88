"""Many experts at once: one distribution for each cluster, all of them in one call of the UNet a step.

An expert is what `learn` learns. Adam works number by number, and every expert draws its own randomness, so that a
stack of experts learns what each would learn alone, up to the last bits of sums.
"""

from collections.abc import Sequence
from dataclasses import fields, replace

import torch
from torch import Tensor

from dreamdist3d.backbones import Backbone
from dreamdist3d.errors import Stopped, UserError
from dreamdist3d.progress import Bar
from dreamdist3d.prompts.distribution import PromptDistribution
from dreamdist3d.prompts.encoder import PromptFeatures, SoftPromptEncoder
from dreamdist3d.prompts.learning.coupling import LIMIT
from dreamdist3d.prompts.learning.images import ReferenceLatents
from dreamdist3d.prompts.learning.learner import Learner
from dreamdist3d.prompts.learning.objective import StepDraws, errors, orthogonality, text_of
from dreamdist3d.prompts.learning.settings import LearnConfig
from dreamdist3d.prompts.moments import Moments
from dreamdist3d.stopping import StopSignal


def learn_experts(
    backbone: Backbone,
    clusters: Sequence[Tensor],  # each [N, c, h, w], scaled latents
    config: LearnConfig,
    starts: Sequence[Tensor | None] | None = None,  # each [K, M, d]
    progress: Bar | None = None,
) -> list[PromptDistribution]:
    """One distribution for each cluster, all by `config`.

    Raises:
        Stopped: Ctrl-C or SIGTERM; nothing is kept of the stack.
        UserError: a loss that is not finite.
    """
    experts = Experts(backbone, clusters, config, starts or [None] * len(clusters))
    with StopSignal() as stop:
        for step in range(config.steps):
            if stop.requested:
                raise Stopped(f"{len(clusters)} experts stopped at step {step} of {config.steps}.")
            loss = experts.advance()
            if progress is not None:
                progress.advance(f"loss {loss:.4f}")
    return experts.distributions()


class Experts:
    """A stack of E learnings; `advance` is one step of all."""

    def __init__(
        self,
        backbone: Backbone,
        clusters: Sequence[Tensor],
        config: LearnConfig,
        starts: Sequence[Tensor | None],
    ) -> None:
        self._backbone, self._config = backbone, config
        self._encoder = SoftPromptEncoder(backbone.tokenizer, backbone.text_encoder)
        # Each draws as it would alone; their own tokens and optimizers stay unused.
        self._learners = [
            Learner(backbone, ReferenceLatents(latents, None), config, start=start)
            for latents, start in zip(clusters, starts, strict=True)
        ]
        self.tokens = torch.stack([one.tokens.detach() for one in self._learners]).requires_grad_()  # [E, K, M, d]
        self._optimizer = torch.optim.AdamW([self.tokens], lr=config.lr, weight_decay=0.0)

    def advance(self) -> float:
        """One step; the experts' mean loss before it.

        Raises:
            UserError: a loss is not finite.
        """
        losses = self.losses()
        self._optimizer.zero_grad(set_to_none=True)
        losses.sum().backward(inputs=[self.tokens])
        if not torch.isfinite(losses).all():
            raise UserError("the loss of an expert is not finite: learn with a smaller learning rate.")
        self._optimizer.step()
        for one in self._learners:
            one.step += 1
        return float(losses.detach().mean())

    def losses(self) -> Tensor:
        """[E]: every expert's own loss, from one encoding and one UNet call."""
        config = self._config
        count, prompts = self.tokens.shape[:2]
        features = self._encoder.encode(self.tokens.flatten(0, 1), config.prefix, config.suffix)
        own = [
            PromptFeatures(hidden, ends)
            for hidden, ends in zip(features.hidden.split(prompts), features.ends.split(prompts), strict=True)
        ]
        limit = LIMIT if config.objective == "coupled" else None
        draws = [one.draws() for one in self._learners]
        texts = [
            text_of(Moments.of(features.hidden, config.covariance, limit=limit), drawn)
            for features, drawn in zip(own, draws, strict=True)
        ]
        joint = StepDraws(*(torch.cat([getattr(one, f.name) for one in draws]) for f in fields(StepDraws)))
        found = errors(self._backbone, torch.cat(texts), joint, config.min_snr_gamma).unflatten(0, (count, -1)).mean(1)
        if prompts > 1 and config.ortho > 0:
            found = found + config.ortho * torch.stack([orthogonality(one.pooled) for one in own])
        return found

    def distributions(self) -> list[PromptDistribution]:
        """What they have learned so far."""
        config, limit = self._config, LIMIT if self._config.objective == "coupled" else None
        facts = {"backbone": self._backbone.name, "objective": config.objective, "steps": str(config.steps)}
        one = PromptDistribution(
            self.tokens[0], config.covariance, self._backbone.fingerprint, config.prefix, config.suffix, facts, limit
        )
        return [replace(one, tokens=tokens.detach()) for tokens in self.tokens]
