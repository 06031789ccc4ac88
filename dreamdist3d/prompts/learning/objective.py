"""The loss (DreamDistribution, section 3.3): denoising with drawn prompts, and orthogonality."""

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from dreamdist3d.backbones import Backbone, add_noise, diffusion_target
from dreamdist3d.prompts.encoder import PromptFeatures
from dreamdist3d.prompts.learning.coupling import LIMIT
from dreamdist3d.prompts.learning.settings import LearnConfig
from dreamdist3d.prompts.moments import Moments


@dataclass(frozen=True, eq=False)
class StepDraws:
    """Everything random of one step: B images, S draws for each."""

    latents: Tensor  # [B, c, h, w]
    noise: Tensor  # [B, c, h, w]
    timesteps: Tensor  # [B] int64
    omega: Tensor  # [B, S, K] (low_rank) or [B, S, L, D] (diagonal)
    alone: Tensor  # bool [B], which samples are prompts alone, that no limit holds


def objective(backbone: Backbone, features: PromptFeatures, draws: StepDraws, config: LearnConfig) -> Tensor:
    """Denoising loss + `config.ortho` times orthogonality, a scalar; differentiable in `features`."""
    limit = LIMIT if config.objective == "coupled" else None
    moments = Moments.of(features.hidden, config.covariance, limit=limit)
    loss = denoising_loss(backbone, moments, draws, config.min_snr_gamma)
    if len(features.pooled) > 1 and config.ortho > 0:
        loss = loss + config.ortho * orthogonality(features.pooled)
    return loss


def denoising_loss(
    backbone: Backbone, moments: Moments, draws: StepDraws, min_snr_gamma: float | None = None
) -> Tensor:
    """Mean over images and draws of ||target - prediction||^2 (mean over elements), all in one UNet call."""
    return errors(backbone, text_of(moments, draws), draws, min_snr_gamma).mean()


def errors(
    backbone: Backbone,
    text: Tensor,  # [B, S, L, D]
    draws: StepDraws,
    min_snr_gamma: float | None = None,
) -> Tensor:
    """[B]: each image's mean over draws and elements of (target - prediction)^2, weighted; one UNet call."""
    samples = draws.omega.shape[1]
    noisy = add_noise(backbone, draws.latents, draws.noise, draws.timesteps)
    target = diffusion_target(backbone, draws.latents, draws.noise, draws.timesteps)
    prediction = backbone.predict(
        noisy.repeat_interleave(samples, 0),
        draws.timesteps.repeat_interleave(samples, 0),
        text.flatten(0, 1).to(backbone.dtype),
    )
    error = (prediction - target.repeat_interleave(samples, 0)).to(text.dtype)
    per_image = error.square().flatten(1).mean(1).unflatten(0, (-1, samples)).mean(1)  # [B]
    if min_snr_gamma is not None:
        alphas = backbone.alphas_cumprod.to(per_image)[draws.timesteps]
        per_image = per_image * min_snr_weight(alphas, min_snr_gamma, backbone.prediction_type)
    return per_image


def text_of(moments: Moments, draws: StepDraws) -> Tensor:
    """The prompts [B, S, L, D] of a step."""
    text = moments.embed(draws.omega)
    if moments.farthest is None:
        return text
    return torch.where(draws.alone[:, None, None, None], replace(moments, farthest=None).embed(draws.omega), text)


def orthogonality(pooled: Tensor) -> Tensor:
    """1 / (K (K - 1)) sum_{i<j} |<p_i, p_j>| of [K, D] features, scaled to unit length: in [0, 1/2]; 0 for K = 1."""
    unit = F.normalize(pooled.to(torch.promote_types(pooled.dtype, torch.float32)), dim=-1)
    count = len(unit)
    overlap = (unit @ unit.T).abs().triu(diagonal=1).sum()
    return overlap / max(1, count * (count - 1))


def min_snr_weight(alphas_cumprod: Tensor, gamma: float, prediction_type: str) -> Tensor:
    """min(snr, gamma) / snr, for v-prediction / (snr + 1) (Hang et al. 2023); elementwise, snr = a / (1 - a).

    A timestep of pure noise (snr 0) has the weight's limit: 1 for epsilon, 0 for v-prediction.
    """
    snr = alphas_cumprod / (1 - alphas_cumprod)
    if prediction_type == "v_prediction":
        return snr.clamp(max=gamma) / (snr + 1)
    return (gamma / snr).clamp(max=1.0)
