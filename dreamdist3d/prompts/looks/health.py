"""Is a learned distribution well? Whether its draws differ, and whether they stay in the family of the references."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from dreamdist3d.backbones import Backbone, add_noise
from dreamdist3d.prompts.encoder import SoftPromptEncoder
from dreamdist3d.prompts.looks.pictures import Sampling, rescale_for, sample_pictures
from dreamdist3d.prompts.source import PromptSource

COLLAPSED, LEFT = 0.5, 0.75  # below these a warning
DRAWS, STEPS = 16, 12
FEATURE_TIME = 0.15  # of the schedule: DIFT's t for likeness in meaning lies near it
FEWEST = 3  # references that can be compared with one another
_CHUNK_PIXELS = 4 * 512 * 512


@dataclass(frozen=True)
class Health:
    """What a few draws from ONE initial noise show, at one gamma; None where the references are too few to compare.

    `spread`: the draws' mean pairwise distance in latents over the references' own: 0 where all draws make one
    picture, about 1 where they differ as the references do. `family`: the share of draws that are as like the
    references as the references are to one another, by the UNet's own middle features.
    """

    gamma: float
    spread: float | None
    family: float | None

    @classmethod
    def recorded(cls, metadata: Mapping[str, str]) -> "Health | None":
        """What a file's metadata say of it, if anybody looked."""
        if "health_gamma" not in metadata:
            return None
        gamma, *shares = (metadata.get(f"health_{name}", "None") for name in ("gamma", "spread", "family"))
        return cls(float(gamma), *(None if value == "None" else float(value) for value in shares))

    @property
    def facts(self) -> dict[str, str]:
        """For a file's metadata."""
        return {f"health_{name}": str(value and round(value, 3)) for name, value in asdict(self).items()}

    @property
    def warnings(self) -> list[str]:
        """A line for each thing that is off, with its number and what to change."""
        found = []
        if self.spread is not None and self.spread < COLLAPSED:
            found.append(
                f"draws at gamma {self.gamma:g} differ {self.spread:.2f} times as much as the references when they "
                f"start from one noise (below {COLLAPSED:g}): in 3D they will look alike. Learn with --objective "
                "coupled and more --prompts, or draw with a larger gamma."
            )
        if self.family is not None and self.family < LEFT:
            found.append(
                f"{self.family:.0%} of draws at gamma {self.gamma:g} are as like the references as these are to one "
                f"another (below {LEFT:.0%}): others leave the family. Draw with a smaller gamma, learn with more "
                "--steps, or name the family behind the tokens with --suffix."
            )
        return found

    @property
    def in_words(self) -> str:
        """Both numbers in one line."""
        spread, family = ("unknown" if value is None else f"{value:.2f}" for value in (self.spread, self.family))
        return f"gamma {self.gamma:g}, one noise: spread {spread} of the references', in the family {family}"


@torch.no_grad()
def look_at_health(
    backbone: Backbone,
    source: PromptSource,
    references: Tensor,  # [N, 3, S, S] in [-1, 1]
    gamma: float = 1.0,
) -> Health:
    """Sample `DRAWS` draws in `STEPS` steps and compare them with the references.

    Raises:
        Stopped: Ctrl-C or SIGTERM.
        UserError: the distribution is of another text encoder.
    """
    draws = [source.draw(seed, gamma) for seed in range(DRAWS)]
    sampling = Sampling(steps=STEPS, rescale=rescale_for(backbone), noise="matched")
    pictures = sample_pictures(backbone, source, draws, sampling) * 2 - 1
    made, known = (_encoded(backbone, pixels) for pixels in (pictures, references))
    if len(known) < FEWEST:
        return Health(gamma, None, None)
    spread = float(torch.pdist(made.flatten(1)).mean() / torch.pdist(known.flatten(1)).mean())
    return Health(gamma, spread, likeness(_features(backbone, known), _features(backbone, made)))


def likeness(
    references: Tensor,  # [N, D]
    features: Tensor,  # [B, D]
) -> float:
    """Share of features that are as like the references as the one that is least like the others; cosines to means."""
    known, made = F.normalize(references.double(), dim=1), F.normalize(features.double(), dim=1)
    total = known.sum(dim=0)
    least = F.cosine_similarity(known, total - known).min()
    return float((F.cosine_similarity(made, total[None]) >= least).double().mean())


def _encoded(backbone: Backbone, pixels: Tensor) -> Tensor:
    """Latents [N, c, h, w], some pictures at a time."""
    chunks = pixels.split(max(1, _CHUNK_PIXELS // (pixels.shape[-1] * pixels.shape[-2])))
    return torch.cat([backbone.encode_images(chunk) for chunk in chunks])


def _features(backbone: Backbone, latents: Tensor) -> Tensor:
    """The UNet's middle activations for slightly noised latents and no words: [N, D] (DIFT, Tang et al. 2023)."""
    text = SoftPromptEncoder(backbone.tokenizer, backbone.text_encoder).encode_text([""]).hidden
    # One noise for all, so that it makes no difference between them.
    noise = torch.randn(latents.shape[1:], generator=torch.Generator().manual_seed(0)).to(latents)
    time = int(FEATURE_TIME * len(backbone.alphas_cumprod))
    kept: list[Tensor] = []
    hook = backbone.unet.mid_block.register_forward_hook(lambda module, inputs, output: kept.append(output))
    try:
        for chunk in latents.split(max(1, _CHUNK_PIXELS // backbone.image_size**2)):
            times = torch.full((len(chunk),), time, device=latents.device)
            noisy = add_noise(backbone, chunk, noise.expand_as(chunk), times)
            backbone.predict(noisy, times, text.expand(len(chunk), -1, -1))
    finally:
        hook.remove()
    return torch.cat(kept).flatten(1)
