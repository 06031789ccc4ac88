"""How good an apprentice is on clusters it has not seen: beside captions, which it never gets, and beside no words."""

import time
from collections.abc import Sequence
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from dreamdist3d.apprentice.bank import Bank, Cluster
from dreamdist3d.apprentice.inputs import patches_of
from dreamdist3d.apprentice.instant import distribution_of
from dreamdist3d.apprentice.knownness import is_known
from dreamdist3d.apprentice.storage import Trained
from dreamdist3d.backbones import Backbone, add_noise, diffusion_target, latent_shape, sample_images
from dreamdist3d.errors import Stopped
from dreamdist3d.files import ensure_folder, read_json, safe_name, write_json
from dreamdist3d.progress import bar
from dreamdist3d.prompts.distribution import PromptDistribution
from dreamdist3d.prompts.encoder import SoftPromptEncoder
from dreamdist3d.prompts.looks.pictures import rescale_for
from dreamdist3d.randomness import generator_for
from dreamdist3d.stopping import StopSignal

if TYPE_CHECKING:
    from dreamdist3d.eval.features.encoder import ImageEncoder

TIMES = (0.2, 0.4, 0.6, 0.8)  # of the schedule, at which errors of denoising are compared
PICTURES, STEPS, GUIDANCE = 8, 12, 7.5


def evaluate(
    backbone: Backbone, trained: Trained, bank: Bank, clusters: int, judges: "Sequence[ImageEncoder]", folder: Path
) -> dict[str, dict[str, float]]:
    """Means over `clusters` held-out clusters of each split; a file a cluster in `folder`, gone on with after a stop.

    `denoising`: error under each picture's own prompt; `captions`, `no words`: under its fullest caption, and none.
    `known`: share of clusters that it says it knows. Per judge the similarity of 8 draws from fresh noise to the
    cluster's pictures; without judges nothing is drawn. `seconds`: of network time for one cluster.

    Raises:
        Stopped: Ctrl-C or SIGTERM.
    """
    ensure_folder(folder)
    chosen = [one for split in ("known", "unknown") for one in bank.split(split)[:clusters]]
    with StopSignal() as stop, bar("evaluating", len(chosen)) as progress:
        for cluster in chosen:
            if stop.requested:
                raise Stopped(f"evaluation stopped; {folder} keeps what is done: the same command goes on from there.")
            path = folder / f"{safe_name(cluster.name)}.json"
            if not path.is_file():
                write_json(path, _evaluated(backbone, trained, bank, cluster, judges))
            progress.advance()
    rows = {one.name: read_json(folder / f"{safe_name(one.name)}.json") for one in chosen}
    return {
        split: {name: mean(row[name] for row in found) for name in found[0]}
        for split in ("known", "unknown")
        if (found := [rows[one.name] for one in chosen if one.split == split])
    }


def table_of(found: dict[str, dict[str, float]]) -> str:
    """The means as a Markdown table, a row for each measure."""
    names = list(next(iter(found.values()), {}))
    lines = [f"| held-out clusters | {' | '.join(found)} |", f"|---|{'---|' * len(found)}"]
    return "\n".join(
        lines + [f"| {name} | {' | '.join(f'{row[name]:.4f}' for row in found.values())} |" for name in names]
    )


@torch.no_grad()
def _evaluated(
    backbone: Backbone, trained: Trained, bank: Bank, cluster: Cluster, judges: "Sequence[ImageEncoder]"
) -> dict[str, float]:
    latents = bank.latents(cluster.pictures).to(backbone.device)
    inputs = bank.inputs(cluster.pictures)
    inputs = patches_of(latents) if inputs is None else inputs.to(backbone.device)
    began = time.perf_counter()
    made = distribution_of(backbone, trained, inputs, latents)
    seconds = time.perf_counter() - began
    encoder = SoftPromptEncoder(backbone.tokenizer, backbone.text_encoder)
    captions = [(bank.pictures[place].captions or ("",))[0] for place in cluster.pictures]
    own = encoder.encode(made.tokens[: len(latents)].to(backbone.device)).hidden
    row = {
        "denoising": denoising_error(backbone, latents, own),
        "captions": denoising_error(backbone, latents, encoder.encode_text(captions).hidden),
        "no words": denoising_error(backbone, latents, encoder.encode_text([""] * len(latents)).hidden),
        "known": float(is_known(made)),
        "seconds": seconds,
    }
    if not judges:
        return row
    drawn = _drawn(backbone, made, encoder)
    shown = (backbone.decode_latents(latents) / 2 + 0.5).clamp(0, 1).float().cpu()
    for judge in judges:
        row[f"{judge.name} similarity"] = float((judge.encode(drawn) @ judge.encode(shown).T).mean())
    return row


def denoising_error(
    backbone: Backbone,
    latents: Tensor,  # [N, c, h, w]
    text: Tensor,  # [N, L, D]
) -> float:
    """Mean squared error of the UNet's answer at four times, with the same noise for every caller."""
    noise = torch.randn(latents.shape[1:], generator=torch.Generator().manual_seed(0)).to(latents).expand_as(latents)
    found = []
    for share in TIMES:
        times = torch.full((len(latents),), int(share * len(backbone.alphas_cumprod)), device=latents.device)
        answer = backbone.predict(add_noise(backbone, latents, noise, times), times, text)
        found.append((answer - diffusion_target(backbone, latents, noise, times)).square().mean())
    return float(torch.stack(found).mean())


def _drawn(backbone: Backbone, made: PromptDistribution, encoder: SoftPromptEncoder) -> Tensor:
    moments = made.moments(encoder)
    text = torch.stack([made.draw(seed).embed(moments) for seed in range(PICTURES)])
    noise = torch.randn((PICTURES, *latent_shape(backbone)), generator=generator_for(0, "evaluation"))
    negative = encoder.encode_text([""]).hidden[0]
    return sample_images(backbone, text, negative, noise, GUIDANCE, STEPS, rescale=rescale_for(backbone)).float().cpu()
