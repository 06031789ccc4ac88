"""Whether pictures lie in what an apprentice knows, told by features of the frozen UNet.

An apprentice's own view does not tell: what it never saw it takes for something that it knows. The UNet's features do
(DIFT, Tang et al. 2023): pictures far from all that the apprentice was taught are new to it. How far is far is told by
held-out clusters of the kinds that it was taught.
"""

from collections.abc import Mapping
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from dreamdist3d.apprentice.bank import Bank
from dreamdist3d.apprentice.storage import Trained
from dreamdist3d.backbones import Backbone, add_noise
from dreamdist3d.errors import UserError
from dreamdist3d.prompts.distribution import PromptDistribution
from dreamdist3d.prompts.encoder import SoftPromptEncoder

LEAST = 0.03  # of knownness: as many of the clusters that it does know are called unknown
SIZES = (1, 2, 3, 5, 8)  # pictures, for each of which scores are kept: of few, scores scatter
TIME = 0.15  # of the schedule
KEPT, CLUSTERS = 2000, 200  # pictures it was taught by, and held-out clusters, to compare with
_CHUNK_PIXELS = 4 * 512 * 512


@torch.no_grad()
def features(
    backbone: Backbone,
    latents: Tensor,  # [N, c, h, w]
) -> Tensor:
    """The mean over places of what the UNet's first upward block makes of slightly noised latents and no words: [N, D].

    Float32 on the CPU.
    """
    text = SoftPromptEncoder(backbone.tokenizer, backbone.text_encoder).encode_text([""]).hidden
    # One noise for all, so that it makes no difference between them.
    noise = torch.randn(latents.shape[1:], generator=torch.Generator().manual_seed(0))
    found: list[Tensor] = []
    hook = backbone.unet.up_blocks[0].register_forward_hook(lambda module, inputs, output: found.append(output))
    try:
        for chunk in latents.split(max(1, _CHUNK_PIXELS // backbone.image_size**2)):
            clean = chunk.to(backbone.device)
            times = torch.full((len(chunk),), int(TIME * len(backbone.alphas_cumprod)), device=clean.device)
            noisy = add_noise(backbone, clean, noise.to(clean).expand_as(clean), times)
            backbone.predict(noisy, times, text.expand(len(chunk), -1, -1))
    finally:
        hook.remove()
    return torch.cat([one.flatten(2).mean(2).float().cpu() for one in found])


def oddness(
    known: Mapping[str, Tensor],
    seen: Tensor,  # [N, D], as `features`
) -> float:
    """Mean distance of at most 8 pictures from the nearest picture that was taught, as directions from the mean: 0..2.

    Args:
        known: as `calibrated` keeps it: `mean` [D], `taught` [n, D] of unit length.
    """
    unit = F.normalize(seen[: SIZES[-1]] - known["mean"], dim=1)
    return float(torch.cdist(unit, known["taught"]).amin(dim=1).mean())


def knownness(
    scores: Tensor,  # [sizes, n], of held-out clusters of known kinds, for each of `SIZES`
    score: float,
    pictures: int,
) -> float:
    """A conformal p-value in (0, 1]: the share of held-out clusters as odd as this one, itself counted among them.

    Of pictures like those that were taught all values are equally likely, small ones included; of others all are small.
    """
    place = min(range(len(SIZES)), key=lambda i: abs(SIZES[i] - pictures))
    kept = scores[place][scores[place].isfinite()]
    return (1 + int((kept >= score).sum())) / (1 + len(kept))


def is_known(made: PromptDistribution) -> bool:
    """Whether an instant distribution's pictures were known to its apprentice; yes, if it was never calibrated."""
    return float(made.metadata.get("knownness", 1.0)) >= LEAST


def calibrated(trained: Trained, backbone: Backbone, bank: Bank) -> Trained:
    """The same apprentice with what it takes to tell what it knows: pictures it was taught by, and held-out scores.

    Raises:
        UserError: no clusters are held out.
    """
    held_out = [one.pictures for one in bank.split("known")[:CLUSTERS]]
    if not held_out:
        raise UserError(f"{bank.folder} holds out no clusters to compare with: mine ten folders at least.")
    places = sorted({place for one in bank.split("train") for place in one.pictures})
    order = torch.randperm(len(places), generator=torch.Generator().manual_seed(0))[:KEPT].tolist()
    taught = features(backbone, bank.latents([places[index] for index in order]))
    known = {"mean": taught.mean(dim=0), "taught": F.normalize(taught - taught.mean(dim=0), dim=1)}
    known = {name: value.half().float() for name, value in known.items()}  # as the file keeps them
    scores = torch.full((len(SIZES), len(held_out)), torch.nan)
    for column, pictures in enumerate(held_out):
        seen = features(backbone, bank.latents(pictures[: SIZES[-1]]))
        for row, size in enumerate(SIZES):
            if size <= len(pictures):
                scores[row, column] = oddness(known, seen[:size])
    return replace(trained, known={**known, "scores": scores})
