"""One step of learning, and the state it carries from step to step."""

from typing import Any

import torch
from torch import Tensor

from dreamdist3d.backbones import Backbone
from dreamdist3d.prompts.encoder import SoftPromptEncoder
from dreamdist3d.prompts.learning.coupling import Coupling, shuffled_rounds
from dreamdist3d.prompts.learning.images import ReferenceLatents
from dreamdist3d.prompts.learning.objective import StepDraws, objective
from dreamdist3d.prompts.learning.processes import ALONE, Processes
from dreamdist3d.prompts.learning.settings import LearnConfig
from dreamdist3d.prompts.moments import omega_shape
from dreamdist3d.randomness import generator_for

INIT_STD = 0.02


class Learner:
    """The K x M tokens and their optimizer; nothing else is ever changed.

    Step n draws all its randomness from (seed, n), so `state` after n steps is all that step n + 1 needs.
    Of several processes each takes a share of the step's images; together they make the same step as one would.

    Raises:
        UserError: fewer images in a batch than processes.
    """

    def __init__(
        self,
        backbone: Backbone,
        latents: ReferenceLatents,
        config: LearnConfig,
        processes: Processes = ALONE,
        start: Tensor | None = None,  # [K, M, d]; None: random
    ) -> None:
        self.step = 0
        self._backbone, self._latents, self._config, self._processes = backbone, latents, config, processes
        self._share = processes.share(config.batch)
        self._encoder = SoftPromptEncoder(backbone.tokenizer, backbone.text_encoder)
        hidden_shape = config.prompts, self._encoder.max_length, self._encoder.width
        self._omega_shape = omega_shape(config.covariance, hidden_shape)
        self._coupling = Coupling(latents.mean, config.prompts) if config.objective == "coupled" else None
        shape = (config.prompts, config.tokens, self._encoder.width)
        tokens = torch.randn(shape, generator=generator_for(config.seed, "tokens")) * INIT_STD
        if start is not None:
            tokens = start.clone()
        self.tokens = tokens.to(backbone.device).requires_grad_()  # [K, M, d]
        self._optimizer = torch.optim.AdamW([self.tokens], lr=config.lr, weight_decay=0.0)

    @property
    def device(self) -> torch.device:
        """Where the tokens are."""
        return self.tokens.device

    def advance(self) -> float:
        """One step; returns the loss before it.

        Raises:
            FloatingPointError: the loss or its gradient is not finite; the state stays as it was.
        """
        loss = self._processes.sum(self._backward(self.draws()))
        assert self.tokens.grad is not None  # the backward pass has just left it there
        gradient = self.tokens.grad = self._processes.sum(self.tokens.grad)
        # A gradient can overflow where the loss does not.
        if not (torch.isfinite(loss) and torch.isfinite(gradient).all()):
            raise FloatingPointError(f"loss {float(loss)}")
        self._optimizer.step()
        self.step += 1
        return float(loss)

    def state(self) -> dict[str, Any]:
        """Tensors and scalars, for `load_state`."""
        return {"tokens": self.tokens.detach().cpu(), "optimizer": self._optimizer.state_dict(), "step": self.step}

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from what `state` returned."""
        with torch.no_grad():
            self.tokens.copy_(state["tokens"])
        self._optimizer.load_state_dict(state["optimizer"])
        self.step = state["step"]

    def _backward(self, draws: StepDraws) -> Tensor:
        """This process's part of the loss; its gradient is left in the tokens."""
        # The K prompts are encoded once for all images and draws.
        features = self._encoder.encode(self.tokens, self._config.prefix, self._config.suffix)
        loss = objective(self._backbone, features, draws, self._config)
        # The loss is a mean over images: parts of unequal size weigh by their size.
        loss = loss * (len(draws.latents) / self._config.batch)
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward(inputs=[self.tokens])
        return loss.detach()

    def draws(self) -> StepDraws:
        """This process's part of the step's randomness, all of which every process draws."""
        config = self._config
        generator = generator_for(config.seed, "step", self.step)
        alone = torch.zeros(config.batch, dtype=torch.bool)
        if self._coupling is None:
            first = self.step * config.batch
            chosen = shuffled_rounds(len(self._latents), first, first + config.batch, config.seed)
        else:
            chosen, omega, alone = self._coupling.draw(config.batch, self.step, config.seed)
        latents = self._latents.sample(chosen, generator)
        noise = torch.randn(latents.shape, generator=generator).to(latents.dtype)
        timesteps = torch.randint(len(self._backbone.alphas_cumprod), (config.batch,), generator=generator)
        if self._coupling is None:
            omega = torch.randn((config.batch, config.samples, *self._omega_shape), generator=generator)
        parts = (part[self._share].to(self._backbone.device) for part in (latents, noise, timesteps, omega, alone))
        return StepDraws(*parts)
