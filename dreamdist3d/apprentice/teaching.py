"""Experts and their pictures: SuTI's Algorithm 1 up to the apprentice, kept only where words came through.

    experts/NAME.safetensors   a distribution file for each cluster
    pictures/NAME.safetensors  what the expert made under words that its cluster never had, with delta-CLIP of each

Every file is written whole; a cluster that has its pictures is done. Several processes may share the folder, one on
each GPU or machine: a stack of clusters belongs to whoever holds the lock on its first.
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from dreamdist3d.apprentice.bank import Bank, Cluster
from dreamdist3d.apprentice.experts import learn_experts
from dreamdist3d.apprentice.objective import Example
from dreamdist3d.backbones import Backbone, latent_shape, sample_latents
from dreamdist3d.errors import Stopped
from dreamdist3d.files import ensure_folder, safe_name, try_lock, write_atomic, write_json
from dreamdist3d.progress import bar
from dreamdist3d.prompts.distribution import PromptDistribution
from dreamdist3d.prompts.encoder import SoftPromptEncoder
from dreamdist3d.prompts.learning.settings import LearnConfig
from dreamdist3d.prompts.looks.pictures import rescale_for
from dreamdist3d.randomness import generator_for
from dreamdist3d.stopping import StopSignal

if TYPE_CHECKING:
    from dreamdist3d.eval import MiniClip

LEAST_DELTA = 0.02  # of delta-CLIP; SuTI, section 4


@dataclass(frozen=True)
class TeachSettings:
    """How many experts, and what they are asked for.

    Attributes:
        experts: clusters of the training split that get one, from the first on.
        stack: experts that learn in one call of the UNet.
        pictures: asked of every expert.
        least_delta: delta-CLIP above which a picture is kept.
        guidance, sampling_steps: of the sampler.
    """

    experts: int = 300
    stack: int = 4
    pictures: int = 8
    least_delta: float = LEAST_DELTA
    guidance: float = 7.5
    sampling_steps: int = 20
    seed: int = 0


def teach(
    backbone: Backbone, bank: Bank, folder: Path, config: LearnConfig, settings: TeachSettings, judge: "MiniClip"
) -> dict[str, Any]:
    """Learn the experts and sample them; the counts of what was kept and why not.

    Raises:
        Stopped: Ctrl-C or SIGTERM; what is whole is kept.
    """
    stacks, done = open_stacks(bank, folder, settings)
    with StopSignal() as stop, bar("stacks of experts", done + len(stacks), done) as progress:
        for stack in stacks:
            if stop.requested:
                raise Stopped(f"teaching stopped; {folder} keeps what is done: the same command goes on from there.")
            teach_stack(backbone, bank, folder, stack, config, settings, judge)
            progress.advance()
    return write_counts(bank, folder, settings)


def open_stacks(bank: Bank, folder: Path, settings: TeachSettings) -> tuple[list[list[Cluster]], int]:
    """Stacks of clusters, as they learn together, that still need an expert, in a ready folder; how many do not."""
    for name in ("experts", "pictures"):
        ensure_folder(folder / name)
    clusters = bank.split("train")[: settings.experts]
    stacks = [list(clusters[i : i + settings.stack]) for i in range(0, len(clusters), settings.stack)]
    missing = [stack for stack in stacks if not all(is_taught(folder, one) for one in stack)]
    return missing, len(stacks) - len(missing)


def teach_stack(
    backbone: Backbone,
    bank: Bank,
    folder: Path,
    stack: Sequence[Cluster],
    config: LearnConfig,
    settings: TeachSettings,
    judge: "MiniClip",
) -> None:
    """Learn and sample the experts of a stack that are missing, unless another process does."""
    with _claimed(folder, stack[0]) as mine:
        missing = [one for one in stack if not is_taught(folder, one)]
        if mine and missing:
            _teach_stack(backbone, bank, folder, missing, config, settings, judge)


def is_taught(folder: Path, cluster: Cluster) -> bool:
    """Whether a cluster's expert has made its pictures."""
    return _path(folder, "pictures", cluster).is_file()


def write_counts(bank: Bank, folder: Path, settings: TeachSettings) -> dict[str, Any]:
    """Leave `count_pictures` of all clusters that were to be taught in `taught.json`."""
    counts = count_pictures(folder, bank.split("train")[: settings.experts], settings.least_delta)
    write_json(folder / "taught.json", counts)
    return counts


def _teach_stack(
    backbone: Backbone,
    bank: Bank,
    folder: Path,
    stack: Sequence[Cluster],
    config: LearnConfig,
    settings: TeachSettings,
    judge: "MiniClip",
) -> None:
    latents = [bank.latents(one.pictures).to(backbone.device) for one in stack]
    experts = learn_experts(backbone, latents, config)
    for cluster, expert, known in zip(stack, experts, latents, strict=True):
        expert.save(_path(folder, "experts", cluster))
        _sample(backbone, bank, folder, cluster, expert, known, settings, judge)


@torch.no_grad()
def _sample(
    backbone: Backbone,
    bank: Bank,
    folder: Path,
    cluster: Cluster,
    expert: PromptDistribution,
    known: Tensor,  # [N, c, h, w], the cluster's own
    settings: TeachSettings,
    judge: "MiniClip",
) -> None:
    encoder = SoftPromptEncoder(backbone.tokenizer, backbone.text_encoder)
    drawing = generator_for(settings.seed, f"unseen words {cluster.name}")
    asked = [_unseen(bank, cluster, expert, drawing) for _ in range(settings.pictures)]
    text = torch.cat([encoder.encode(expert.tokens[k : k + 1].to(backbone.device), p).hidden for _, k, p, _ in asked])
    noise = torch.randn((len(asked), *latent_shape(backbone)), generator=drawing)
    negative = encoder.encode_text([""]).hidden[0]
    made = sample_latents(
        backbone, text, negative, noise, settings.guidance, settings.sampling_steps, rescale=rescale_for(backbone)
    )
    deltas = delta_clip(judge, _shown(backbone, made), _shown(backbone, known), [words for *_, words in asked])
    about = {
        "asked": json.dumps([{"home": home, "prefix": prefix, "words": words} for home, _, prefix, words in asked])
    }
    tensors = {"latents": made.half().cpu().contiguous(), "delta_clip": deltas.contiguous()}
    write_atomic(_path(folder, "pictures", cluster), lambda path: save_file(tensors, path, about))


def _unseen(
    bank: Bank, cluster: Cluster, expert: PromptDistribution, drawing: torch.Generator
) -> tuple[int, int, str, str]:
    """A home (its place in the bank), the expert's prompt for it, words before it, and the caption they would make."""
    count = len(cluster.pictures)
    prompt = int(torch.randint(len(expert.tokens), (1,), generator=drawing))
    home = cluster.pictures[prompt % count]
    prefixes = bank.mined.prefixes or ("a photo of",)
    prefix = prefixes[int(torch.randint(len(prefixes), (1,), generator=drawing))]
    known = bank.pictures[home]
    words = known.edited.format(prefix) if known.edited else f"{prefix} {(known.captions or (cluster.name,))[0]}"
    return home, prompt, prefix, words


def delta_clip(
    judge: "MiniClip",
    made: Tensor,  # [B, 3, S, S] in [0, 1]
    known: Tensor,  # [N, 3, S, S], the demonstrations
    words: Sequence[str],  # B
) -> Tensor:
    """[B]: CLIP(y, p) - max over demonstrations x of CLIP(x, p) (SuTI, equation 6): what the words changed."""
    texts = judge.encode_text(words)
    return (judge.encode(made) * texts).sum(1) - (judge.encode(known) @ texts.T).amax(0)


def examples(folder: Path, bank: Bank, least_delta: float = LEAST_DELTA) -> list[Example]:
    """The pictures that an apprentice is taught by."""
    return [
        Example(cluster.name, asked["home"], asked["prefix"], latents)
        for cluster in bank.split("train")
        for asked, delta, latents in of_expert(folder, cluster)
        if delta > least_delta
    ]


def of_expert(folder: Path, cluster: Cluster) -> Iterator[tuple[dict[str, Any], float, Tensor]]:
    """What an expert was asked for, the delta-CLIP of what it made, its latents [c, h, w]; nothing of one untaught."""
    path = _path(folder, "pictures", cluster)
    if not path.is_file():
        return
    with safe_open(path, framework="pt") as file:
        asked = json.loads(file.metadata()["asked"])
        latents, deltas = file.get_tensor("latents").float(), file.get_tensor("delta_clip")
    yield from zip(asked, deltas.tolist(), latents, strict=True)


def count_pictures(folder: Path, clusters: Sequence[Cluster], least_delta: float) -> dict[str, Any]:
    """How many clusters are done, and pictures kept and left out."""
    deltas = [[delta for _, delta, _ in of_expert(folder, one)] for one in clusters]
    every = [delta for row in deltas for delta in row]
    kept = sum(delta > least_delta for delta in every)
    return {
        "experts": sum(bool(row) for row in deltas),
        "pictures": len(every),
        "kept": kept,
        "left_out": {f"delta-CLIP not above {least_delta:g}": len(every) - kept},
    }


def _shown(backbone: Backbone, latents: Tensor) -> Tensor:
    return (backbone.decode_latents(latents.to(backbone.device)) / 2 + 0.5).clamp(0, 1).float().cpu()


def _path(folder: Path, kind: str, cluster: Cluster) -> Path:
    return folder / kind / f"{safe_name(cluster.name)}.safetensors"


@contextmanager
def _claimed(folder: Path, cluster: Cluster) -> Iterator[bool]:
    """Whether the stack that begins with `cluster` is this process's while the context lasts."""
    path = _path(folder, "pictures", cluster).with_suffix(".lock")
    with path.open("a") as file:
        yield try_lock(file.fileno())
