"""Textual inversion (Gal et al., ICLR 2023): one prompt for all references; plain, and with noise on its tokens."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from dreamdist3d.baselines.settings import BaselineConfig
from dreamdist3d.prompts import Execution, PromptComposition, PromptDistribution, ReferenceImages, learn, preset_for
from dreamdist3d.randomness import generator_for

if TYPE_CHECKING:
    from dreamdist3d.backbones import Backbone


def invert(
    backbone: "Backbone", references: ReferenceImages, config: BaselineConfig, out: Path, execution: Execution
) -> PromptDistribution:
    """Learn one prompt, which is learning a distribution of one; written to `out`, from whose checkpoint it goes on.

    Raises:
        Stopped, UserError: as `learn`.
    """
    settings = replace(
        preset_for(backbone),
        prompts=1,
        tokens=config.tokens,
        steps=config.steps,
        batch=config.batch,
        lr=config.lr,
        seed=config.seed,
    )
    return learn(backbone, references, settings, out, execution=execution)


def with_noise(prompt: PromptDistribution, config: BaselineConfig) -> PromptComposition:
    """`config.copies` of the prompt, each with Gaussian noise on every number of its tokens, as a mixture.

    The noise is `config.noise` times as strong as the tokens' own standard deviation. A draw is one of the copies, so
    that it can be drawn again and edited by words like any other.
    """
    scale = config.noise * prompt.tokens.std()
    copies = []
    for number in range(config.copies):
        noise = torch.randn(prompt.tokens.shape, generator=generator_for(config.seed, "token noise", number))
        copies.append(replace(prompt, tokens=prompt.tokens + scale * noise))
    return PromptComposition(tuple(copies), kind="mixture")
