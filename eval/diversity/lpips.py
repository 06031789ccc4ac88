"""LPIPS between the assets: how different their pictures look to a network tuned on people's judgements."""

from typing import Literal

import torch
from torch import Tensor

from dreamdist3d.eval.published import torch_hub_file

_BACKBONES = {
    "alex": "https://download.pytorch.org/models/alexnet-owt-7be5be79.pth",
    "vgg": "https://download.pytorch.org/models/vgg16-397923af.pth",
}


@torch.no_grad()
def lpips_distances(
    views: Tensor,  # [A, V, 3, H, W] in [0, 1]
    network: Literal["alex", "vgg"] = "alex",
) -> Tensor:
    """LPIPS of every two assets, mean over V matched views: float64 [A, A], 0 or more.

    The mean of the off-diagonal is the set's LPIPS diversity. Computed by torchmetrics on torchvision's ImageNet
    weights: there is no other LPIPS, so that without those weights there is no number rather than another one
    under this name. Source: Zhang et al., "The unreasonable effectiveness of deep features as a perceptual
    metric", CVPR 2018.

    Raises:
        UserError: the network's weights are not on this machine and cannot be downloaded.
    """
    metric = _metric(network)
    matrix = torch.zeros(len(views), len(views), dtype=torch.float64)
    for i in range(len(views)):
        for j in range(i):
            matrix[i, j] = matrix[j, i] = float(metric(views[i], views[j]))
    return matrix


def _metric(network: str) -> torch.nn.Module:
    from torchmetrics.image.lpip import LearnedPerceptualImagePatchSimilarity

    torch_hub_file(_BACKBONES[network], f"LPIPS ({network})", "leave LPIPS out")
    return LearnedPerceptualImagePatchSimilarity(net_type=network, reduction="mean", normalize=True).eval()
