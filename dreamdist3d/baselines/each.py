"""One textual inversion for each reference, all of them in one stack: what DiverseDream (Tran et al., ECCV 2024) draws.

N prompts that share nothing: the loss is the sum of each prompt's own, and AdamW looks at every number for itself, so
that the stack learns what N learnings would (tests/baselines/test_each.py). A draw is one of the N.
"""

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from dreamdist3d.backbones import add_noise, diffusion_target
from dreamdist3d.baselines.settings import BaselineConfig
from dreamdist3d.prompts import PromptComposition, PromptDistribution, PromptSource, SoftPromptEncoder
from dreamdist3d.prompts.learning.images import ReferenceLatents
from dreamdist3d.prompts.learning.learner import INIT_STD
from dreamdist3d.randomness import generator_for

if TYPE_CHECKING:
    from dreamdist3d.backbones import Backbone

_AT_ONCE = 32  # pictures through the UNet with gradients


class EachLearner:
    """N prompts of M tokens and their optimizer; prompt i is told of picture i alone."""

    def __init__(self, backbone: "Backbone", latents: ReferenceLatents, config: BaselineConfig) -> None:
        self.step = 0
        self._backbone, self._latents, self._config = backbone, latents, config
        self._encoder = SoftPromptEncoder(backbone.tokenizer, backbone.text_encoder)
        shape = config.tokens, self._encoder.width
        tokens = [torch.randn(shape, generator=generator_for(config.seed, "tokens", i)) for i in range(len(latents))]
        self.tokens = (INIT_STD * torch.stack(tokens)).to(backbone.device).requires_grad_()  # [N, M, d]
        self._optimizer = torch.optim.AdamW([self.tokens], lr=config.lr, weight_decay=0.0)

    @property
    def device(self) -> torch.device:
        """Where the tokens are."""
        return self.tokens.device

    def advance(self) -> float:
        """One step of every prompt; returns the mean loss before it.

        Raises:
            FloatingPointError: a loss or gradient is not finite; the state stays as it was.
        """
        self._optimizer.zero_grad(set_to_none=True)
        total = 0.0
        for part in torch.arange(len(self.tokens)).split(max(1, _AT_ONCE // self._config.batch)):
            loss = self._loss(part.tolist())
            loss.backward(inputs=[self.tokens])
            total += float(loss.detach())
        gradient = self.tokens.grad
        if gradient is None or not (torch.isfinite(gradient).all() and total == total):
            raise FloatingPointError(f"loss {total}")
        self._optimizer.step()
        self.step += 1
        return total / len(self.tokens)

    def state(self) -> dict[str, Any]:
        """Tensors and scalars, for `load_state`."""
        return {"tokens": self.tokens.detach().cpu(), "optimizer": self._optimizer.state_dict(), "step": self.step}

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from what `state` returned."""
        with torch.no_grad():
            self.tokens.copy_(state["tokens"])
        self._optimizer.load_state_dict(state["optimizer"])
        self.step = state["step"]

    def source(self, metadata: dict[str, str]) -> PromptSource:
        """The prompts learned so far: a mixture, or, of one picture, that one."""
        prompts = tuple(
            PromptDistribution(tokens[None], "low_rank", self._backbone.fingerprint, metadata=metadata)
            for tokens in self.tokens
        )
        return prompts[0] if len(prompts) == 1 else PromptComposition(prompts, kind="mixture")

    def _loss(self, pictures: list[int]) -> Tensor:
        """The sum of these prompts' denoising losses, each a mean over its samples."""
        drawn = [self._draws(i) for i in pictures]
        latents, noise, timesteps = (torch.cat(parts).to(self.device) for parts in zip(*drawn, strict=True))
        noisy = add_noise(self._backbone, latents, noise, timesteps)
        text = self._encoder.encode(self.tokens[pictures]).hidden.repeat_interleave(self._config.batch, 0)
        prediction = self._backbone.predict(noisy, timesteps, text.to(self._backbone.dtype))
        error = (prediction - diffusion_target(self._backbone, latents, noise, timesteps)).to(text.dtype)
        return error.square().flatten(1).mean(1).sum() / self._config.batch

    def _draws(self, picture: int) -> tuple[Tensor, Tensor, Tensor]:
        """Latents, noise and timesteps of one prompt's step, from (seed, picture, step) alone."""
        generator, count = generator_for(self._config.seed, f"step of {picture}", self.step), self._config.batch
        latents = self._latents.sample([picture] * count, generator).cpu()
        noise = torch.randn(latents.shape, generator=generator).to(latents.dtype)
        return latents, noise, torch.randint(len(self._backbone.alphas_cumprod), (count,), generator=generator)
