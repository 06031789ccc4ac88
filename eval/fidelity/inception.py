"""Inception: FID and KID, distances between distributions of pictures on its features; and its answers."""

from dataclasses import dataclass

import torch
from torch import Tensor

from dreamdist3d.errors import UserError
from dreamdist3d.eval.published import torch_hub_file

WEIGHTS = "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/weights-inception-2015-12-05-6726825d.pth"
FEWEST_FID = 2049  # more pictures than features, so that the covariance has full rank
FEWEST_KID = 100
_FEATURES = "2048"
_BATCH = 32


@dataclass(frozen=True)
class Kid:
    """Kernel Inception distance over random subsets."""

    mean: float  # near 0 for equal distributions; unbiased, so that it may be a little negative
    std: float  # over the subsets


@torch.no_grad()
def fid(
    references: Tensor,  # [R, 3, H, W] in [0, 1]
    pictures: Tensor,  # [N, 3, H, W] in [0, 1]
) -> float:
    """Frechet Inception distance by torchmetrics with torch-fidelity's Inception, 0 or more.

    Source: Heusel et al., "GANs trained by a two time-scale update rule", NeurIPS 2017.

    Raises:
        UserError: fewer than 2049 references or pictures; torch-fidelity or the Inception weights are missing.
    """
    _enough(references, pictures, FEWEST_FID, "FID", "its covariance of 2048 features has no full rank")
    from torchmetrics.image.fid import FrechetInceptionDistance

    metric = FrechetInceptionDistance(feature=_inception(), normalize=False)
    for images, real in ((references, True), (pictures, False)):
        for batch in images.split(_BATCH):
            metric.update(_bytes(batch), real=real)
    return float(metric.compute())


@torch.no_grad()
def kid(
    references: Tensor,  # [R, 3, H, W] in [0, 1]
    pictures: Tensor,  # [N, 3, H, W] in [0, 1]
    seed: int,
) -> Kid:
    """Kernel Inception distance by torchmetrics with torch-fidelity's Inception: 100 subsets of at most 1000.

    Source: Bińkowski et al., "Demystifying MMD GANs", ICLR 2018.

    Args:
        seed: of the subsets.

    Raises:
        UserError: fewer than 100 references or pictures; torch-fidelity or the Inception weights are missing.
    """
    _enough(references, pictures, FEWEST_KID, "KID", "its deviation is larger than the differences one looks for")
    from torchmetrics.image.kid import KernelInceptionDistance

    size = min(1000, len(references), len(pictures))
    metric = KernelInceptionDistance(feature=_inception(), subset_size=size, normalize=False)
    for images, real in ((references, True), (pictures, False)):
        for batch in images.split(_BATCH):
            metric.update(_bytes(batch), real=real)
    # torchmetrics draws its subsets from the global generator.
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        mean, std = metric.compute()
    return Kid(float(mean), float(std))


@torch.no_grad()
def inception_answers(
    pictures: Tensor,  # [N, 3, H, W] in [0, 1]
) -> Tensor:
    """What Inception takes each picture for: probabilities [N, 1008], for `inception_quality` and `inception_variance`.

    Raises:
        UserError: torch-fidelity or the Inception weights are missing.
    """
    network = _inception("logits")
    return torch.cat([network(_bytes(batch)).float().softmax(dim=1) for batch in pictures.split(_BATCH)])


def _enough(references: Tensor, pictures: Tensor, fewest: int, name: str, reason: str) -> None:
    count = min(len(references), len(pictures))
    if count < fewest:
        raise UserError(f"no {name}: with {count} pictures {reason}; it needs {fewest} of each set.")


def _inception(features: str = _FEATURES) -> torch.nn.Module:
    try:
        import torch_fidelity  # noqa: F401
    except ImportError:
        raise UserError(
            "Inception's scores need torch-fidelity: pip install torch-fidelity, or leave them out."
        ) from None
    from torchmetrics.image.fid import NoTrainInceptionV3

    path = torch_hub_file(WEIGHTS, "FID, KID, IQ and IV (Inception v3)", "leave them out")
    return NoTrainInceptionV3("inception-v3-compat", [features], str(path))


def _bytes(images: Tensor) -> Tensor:
    return (images * 255.0).round().clamp(0, 255).byte()
