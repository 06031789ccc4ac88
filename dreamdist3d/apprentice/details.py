"""What prompts cannot say of one instance: its pictures' own patches, for the UNet's reference attention.

SuTI's generator attends to its demonstrations; so does this second stage. The apprentice and the UNet stay as they are;
what learns is how patches are shown (`Details`) and how the UNet looks at them (`install_reference_attention`).
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dreamdist3d.apprentice.bank import Bank
from dreamdist3d.apprentice.inputs import patches_of
from dreamdist3d.apprentice.network import Apprentice
from dreamdist3d.apprentice.objective import on_cpu
from dreamdist3d.backbones import Backbone, add_noise, diffusion_target
from dreamdist3d.prompts.encoder import SoftPromptEncoder

MOST = 4  # pictures shown beside the words; SuTI shows three to five
SAMPLES, SHOWN = 32, (1, 2, 3, 4)
EDITS = 0.2  # of the steps: words must win over what is shown


class Details(nn.Module):
    """Patches of pictures [N, P, F] to tokens [N P, D] for the UNet; `seen_twice` are an apprentice's."""

    def __init__(self, features: int, text: int) -> None:
        super().__init__()
        self.project = nn.Sequential(
            nn.LayerNorm(features), nn.Linear(features, 2 * text), nn.GELU(), nn.Linear(2 * text, text)
        )

    def forward(
        self,
        patches: Tensor,  # [..., N, P, F]
    ) -> Tensor:
        """[..., N P, D]."""
        return self.project(patches).flatten(-3, -2)


def seen_twice(
    apprentice: Apprentice,
    inputs: Tensor,  # [C, N, P, F]
) -> Tensor:
    """[C, N, P, F + W]: patches as the apprentice got them, beside what it makes of them, which knows their places."""
    return torch.cat([inputs, apprentice.encode(inputs)[0]], dim=-1)


class DetailLessons:
    """Denoising one picture of an instance, shown others of it; a function of a generator seeded for its step."""

    def __init__(self, apprentice: Apprentice, details: Details, backbone: Backbone, bank: Bank) -> None:
        self._apprentice, self._details, self._backbone, self._bank = apprentice, details, backbone, bank
        self._encoder = SoftPromptEncoder(backbone.tokenizer, backbone.text_encoder)
        self._instances = [one for one in bank.split("train") if one.targets and len(one.pictures) >= SHOWN[-1]]

    @property
    def has_instances(self) -> bool:
        """Whether there is anything to learn from."""
        return bool(self._instances)

    def pictures(self, generator: torch.Generator) -> dict[str, Tensor]:
        """The true target, under the prompt of one of the pictures that are shown."""
        generator = on_cpu(generator)
        places, targets = self._drawn(generator)
        text, references = self._shown(places, "")
        latents, noise, times, noisy = self._noised(targets, generator)
        answer = self._backbone.predict(noisy, times, torch.cat([text, references], dim=1))
        return {"loss": F.mse_loss(answer.float(), diffusion_target(self._backbone, latents, noise, times))}

    def edits(self, generator: torch.Generator) -> dict[str, Tensor]:
        """Under a prompt with words before it: what the UNet predicts under the edited caption, shown nothing."""
        generator = on_cpu(generator)
        places, targets = self._drawn(generator)
        prefixes = self._bank.mined.prefixes
        prefix = prefixes[int(torch.randint(len(prefixes), (1,), generator=generator))]
        text, references = self._shown(places, prefix)
        _, _, times, noisy = self._noised(targets, generator)
        captions = [self._bank.pictures[place].edited.format(prefix) for place in targets]
        with torch.no_grad():
            wanted = self._backbone.predict(noisy, times, self._encoder.encode_text(captions).hidden).float()
        answer = self._backbone.predict(noisy, times, torch.cat([text, references], dim=1))
        return {"loss": F.mse_loss(answer.float(), wanted)}

    def _drawn(self, generator: torch.Generator) -> tuple[list[list[int]], list[int]]:
        """B rows of as many pictures to show, and B pictures to denoise."""

        def below(count: int) -> int:
            return int(torch.randint(count, (1,), generator=generator))

        size = SHOWN[below(len(SHOWN))]
        chosen = [self._instances[below(len(self._instances))] for _ in range(SAMPLES)]
        orders = [torch.randperm(len(one.pictures), generator=generator)[:size].tolist() for one in chosen]
        places = [[one.pictures[i] for i in order] for one, order in zip(chosen, orders, strict=True)]
        return places, [one.targets[below(len(one.targets))] for one in chosen]

    def _shown(self, places: Sequence[Sequence[int]], prefix: str) -> tuple[Tensor, Tensor]:
        """Prompts [B, L, D] of the first picture of each row, and references [B, T, D] of all."""
        flat = [place for row in places for place in row]
        inputs = self._bank.inputs(flat)
        inputs = patches_of(self._bank.latents(flat)) if inputs is None else inputs
        inputs = inputs.to(self._backbone.device).unflatten(0, (len(places), -1))
        with torch.no_grad():
            patches, summaries = self._apprentice.encode(inputs)
            first = torch.zeros(len(places), 1, dtype=torch.long, device=inputs.device)
            tokens = self._apprentice.decode(patches, summaries, first)[:, 0]
            text = self._encoder.encode(tokens, prefix).hidden.float()
        return text, self._details(torch.cat([inputs, patches], dim=-1))

    def _noised(self, places: Sequence[int], generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        backbone = self._backbone
        latents = self._bank.latents(places).to(backbone.device)
        times = torch.randint(len(backbone.alphas_cumprod), (len(places),), generator=generator).to(backbone.device)
        noise = torch.randn(latents.shape, generator=generator).to(latents)
        return latents, noise, times, add_noise(backbone, latents, noise, times)


def details_for(apprentice: Apprentice, backbone: Backbone) -> Details:
    """New ones, of the sizes that follow from the two."""
    config: Any = apprentice.config
    return Details(config.features + config.width, backbone.unet.config.cross_attention_dim).to(backbone.device)
