"""Changing the diffusion model itself: one loop for methods that differ in what they change."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from dreamdist3d.backbones import add_noise, diffusion_target
from dreamdist3d.baselines.settings import BaselineConfig
from dreamdist3d.prompts.learning.coupling import shuffled_rounds
from dreamdist3d.prompts.learning.images import ReferenceLatents
from dreamdist3d.randomness import generator_for

if TYPE_CHECKING:
    from dreamdist3d.backbones import Backbone

_LONGEST = 1.0  # of a step's gradient, as in the published scripts
_DECAY = 1e-2


@dataclass(frozen=True)
class Class:
    """What the model is to go on making of the class's own words."""

    text: Tensor  # [L, D]
    latents: ReferenceLatents


class Tuner:
    """Parameters that a step changes, and their optimizer.

    The loss is the denoising error of the references under their prompt, plus, with class pictures, `prior_weight`
    times that of as many class pictures under the class's words (DreamBooth, equation 2).
    """

    def __init__(
        self,
        backbone: "Backbone",
        parameters: Mapping[str, nn.Parameter],
        prompt: Callable[[], Tensor],  # [L, D] of the references, differentiable where it is learned
        latents: ReferenceLatents,
        known: Class | None,
        config: BaselineConfig,
    ) -> None:
        self.step = 0
        self._backbone, self._parameters, self._prompt = backbone, dict(parameters), prompt
        self._latents, self._known, self._config = latents, known, config
        self._optimizer = torch.optim.AdamW(self._parameters.values(), lr=config.lr, weight_decay=_DECAY)

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return self._backbone.device

    def advance(self) -> float:
        """One step; returns the loss before it.

        Raises:
            FloatingPointError: the loss or its gradient is not finite; the state stays as it was.
        """
        loss = self._loss()
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward(inputs=list(self._parameters.values()))
        length = nn.utils.clip_grad_norm_(self._parameters.values(), _LONGEST)
        if not (torch.isfinite(loss) and torch.isfinite(length)):
            raise FloatingPointError(f"loss {float(loss.detach())}")
        self._optimizer.step()
        self.step += 1
        return float(loss.detach())

    def state(self) -> dict[str, Any]:
        """Tensors and scalars, for `load_state`."""
        weights = {name: parameter.detach().cpu() for name, parameter in self._parameters.items()}
        return {"weights": weights, "optimizer": self._optimizer.state_dict(), "step": self.step}

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from what `state` returned."""
        with torch.no_grad():
            for name, parameter in self._parameters.items():
                parameter.copy_(state["weights"][name])
        self._optimizer.load_state_dict(state["optimizer"])
        self.step = state["step"]

    def _loss(self) -> Tensor:
        batch, generator = self._config.batch, generator_for(self._config.seed, "step", self.step)
        first = self.step * batch
        chosen = shuffled_rounds(len(self._latents), first, first + batch, self._config.seed)
        latents, text = self._latents.sample(chosen, generator), [self._prompt().expand(batch, -1, -1)]
        if self._known is not None:
            others = torch.randint(len(self._known.latents), (batch,), generator=generator).tolist()
            latents = torch.cat([latents, self._known.latents.sample(others, generator)])
            text.append(self._known.text.expand(batch, -1, -1))
        error = self._error(latents, torch.cat(text), generator)
        return error[:batch].mean() + self._config.prior_weight * error[batch:].sum() / batch

    def _error(self, latents: Tensor, text: Tensor, generator: torch.Generator) -> Tensor:
        """[B]: ||target - prediction||^2, mean over elements."""
        noise = torch.randn(latents.shape, generator=generator).to(latents)
        timesteps = torch.randint(len(self._backbone.alphas_cumprod), (len(latents),), generator=generator)
        timesteps = timesteps.to(self.device)
        prediction = self._backbone.predict(
            add_noise(self._backbone, latents, noise, timesteps), timesteps, text.to(self._backbone.dtype)
        )
        target = diffusion_target(self._backbone, latents, noise, timesteps)
        return (prediction - target).float().square().flatten(1).mean(1)
