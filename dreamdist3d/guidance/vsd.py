"""Variational score distillation (ProlificDreamer, section 3.2).

Plain score distillation subtracts the noise that was added; here it is the noise that a second model predicts, which
learns from the renders while they change: the frozen UNet with a LoRA of each asset's own.
"""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dreamdist3d.backbones import Backbone, add_noise, diffusion_target, predicted_noise
from dreamdist3d.errors import UserError
from dreamdist3d.guidance.batch import GuidedBatch
from dreamdist3d.guidance.config import GuidanceConfig
from dreamdist3d.guidance.multiview import MultiviewGuidance
from dreamdist3d.lift.cameras import camera_condition
from dreamdist3d.lift.renders import Renders
from dreamdist3d.randomness import generator_for

_LAYERS = ("to_q", "to_k", "to_v", "to_out.0")
_numbers = count()


class VsdGuidance(MultiviewGuidance):
    """Score distillation with a LoRA that learns what renders look like; the arguments are those of its parent.

    The backbone's UNet carries the adapter of every asset that is being made, and is its frozen self while none is
    switched on; an asset that is forgotten takes its adapter along.
    """

    def __init__(
        self,
        backbone: Backbone,
        text: Tensor,
        negative: Tensor,
        config: GuidanceConfig,
        text_views: Tensor | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(backbone, text, negative, config, text_views, seed)
        from peft import LoraConfig

        self._name, self._steps = f"asset_{next(_numbers)}", 0
        self._seen: tuple[Tensor, Renders] | None = None
        lora = LoraConfig(r=config.lora_rank, lora_alpha=config.lora_rank, target_modules=list(_LAYERS))
        # peft draws from the global generator, so the weights are drawn again below; and it warns of several adapters.
        with torch.random.fork_rng(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            backbone.unet.add_adapter(lora, adapter_name=self._name)
        backbone.unet.disable_adapters()
        self._weights = {name: weight for name, weight in backbone.unet.named_parameters() if f".{self._name}." in name}
        generator = generator_for(seed, "lora")
        for name, weight in self._weights.items():
            weight.data = weight.data.float()
            if ".lora_A." in name:  # peft's own start: the other factor is zero
                drawn = torch.empty(weight.shape)
                nn.init.kaiming_uniform_(drawn, a=5**0.5, generator=generator)
                weight.data.copy_(drawn)
        self._optimizer = torch.optim.AdamW(self._weights.values(), lr=config.lora_lr)

    def __del__(self) -> None:
        name = getattr(self, "_name", None)
        if name in getattr(self.backbone.unet, "peft_config", {}):
            self.backbone.unet.delete_adapters(name)

    def losses(self, renders: Sequence[Renders], beside: Sequence["VsdGuidance"] = ()) -> list[Tensor]:  # type: ignore[override]
        """w(t) (eps_text - eps_lora) as the gradient, w = 1 - abar; the LoRA is told the prompt and the cameras."""
        members = [self, *beside]
        batch = GuidedBatch(members, renders)
        latents = batch.encode()
        with torch.no_grad():
            noise, timesteps = batch.noise(latents)
            noisy = add_noise(batch.backbone, latents, noise, timesteps)
            outputs = batch.predict(noisy, timesteps)
            each = zip(members, batch.parts(noisy), batch.parts(timesteps), renders, strict=True)
            own = torch.cat([one._own_noise(part, times, render) for one, part, times, render in each])
            gradient = batch.sds_gradient(own, noisy, timesteps, outputs)
        for one, part, render in zip(members, batch.parts(latents), renders, strict=True):
            one._seen = part.detach(), render
        return batch.along(latents, gradient)

    def after_step(self) -> None:
        """Teach the LoRA the renders of the step, at fresh noise."""
        if self._seen is None:
            return
        latents, render = self._seen
        generator = generator_for(self.seed, "lora step", self._steps)
        objects = len(latents) // self.backbone.n_views
        drawn = torch.randint(len(self.backbone.alphas_cumprod), (objects,), generator=generator)
        timesteps = drawn.repeat_interleave(self.backbone.n_views).to(latents.device)
        noise = torch.randn(latents.shape, generator=generator).to(latents)
        noisy = add_noise(self.backbone, latents, noise, timesteps)
        with self._switched_on():  # peft freezes what it switches off
            output = self._asked(noisy, timesteps, render).float()
            F.mse_loss(output, diffusion_target(self.backbone, latents, noise, timesteps)).backward()
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        self._steps, self._seen = self._steps + 1, None

    def state_dict(self) -> dict[str, Any]:
        """The LoRA, its optimiser, and how often it has learned."""
        weights = {
            name.replace(f".{self._name}.", "."): weight.detach().cpu() for name, weight in self._weights.items()
        }
        return {"lora": weights, "optimizer": self._optimizer.state_dict(), "steps": self._steps}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what `state_dict` gave.

        Raises:
            UserError: it is of another kind of guidance, or of another rank.
        """
        kept = state.get("lora", {})
        mine = self._plainly_named()
        if {name: tuple(w.shape) for name, w in kept.items()} != {name: tuple(w.shape) for name, w in mine.items()}:
            raise UserError("it keeps no LoRA of system.guidance.kind=vsd with this lora_rank.")
        for name, weight in mine.items():
            weight.data.copy_(kept[name])
        self._optimizer.load_state_dict(state["optimizer"])
        self._steps = state["steps"]

    def _plainly_named(self) -> dict[str, Tensor]:
        return {name.replace(f".{self._name}.", "."): weight for name, weight in self._weights.items()}

    def _own_noise(self, noisy: Tensor, timesteps: Tensor, render: Renders) -> Tensor:
        with self._switched_on():
            output = self._asked(noisy, timesteps, render).float()
        return predicted_noise(self.backbone, noisy, output, timesteps)

    def _asked(self, noisy: Tensor, timesteps: Tensor, render: Renders) -> Tensor:
        condition, text = camera_condition(render.cameras.c2w).to(noisy), self.text_of(render.cameras)
        return self.backbone.predict(noisy, timesteps, text, condition, self.backbone.n_views)

    @contextmanager
    def _switched_on(self) -> Iterator[None]:
        """The UNet with this asset's LoRA."""
        self.backbone.unet.set_adapter(self._name)
        self.backbone.unet.enable_adapters()
        try:
            yield
        finally:
            self.backbone.unet.disable_adapters()
