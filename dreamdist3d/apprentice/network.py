"""The apprentice: from a set of pictures to the soft prompts that an expert would have learned from them.

After SuTI (Chen et al. 2023), with prompts in the place of a whole generator: demonstrations in, and out come the
tokens at the text encoder's input, which make one file for any engine that has this text encoder.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

TOKENS = 8  # M; twice a learning's, since nothing is optimised to make four of them suffice


@dataclass(frozen=True)
class ApprenticeConfig:
    """Sizes of the network; those left out are the shipped miniature's."""

    patches: int  # P, of a picture
    features: int  # F, of a patch
    embedding: int  # d, of the text encoder
    scale: float  # standard deviation of the text encoder's own word vectors
    tokens: int = TOKENS  # M
    width: int = 160
    heads: int = 4
    picture_layers: int = 3
    set_layers: int = 2
    decoder_layers: int = 2


class Apprentice(nn.Module):
    """Pictures as patches [C, N, P, F] of C clusters to tokens [C, K, M, d].

    Picture layers see the patches of one picture, set layers one summary of each picture and one of the cluster. Every
    prompt has a home picture: its M tokens look at the home's patches and at all summaries. Nothing tells the
    pictures apart but themselves, so that their order does not matter; `content_order` makes that exact.
    """

    def __init__(self, config: ApprenticeConfig) -> None:
        super().__init__()
        self.config = config
        width = config.width
        options: dict[str, Any] = {
            "nhead": config.heads,
            "dim_feedforward": 4 * width,
            "dropout": 0.0,
            "activation": "gelu",
            "batch_first": True,
            "norm_first": True,
        }
        self.patch = nn.Linear(config.features, width)
        self.place = nn.Parameter(0.02 * torch.randn(config.patches + 1, width))  # the first is the summary's
        self.of_picture = nn.TransformerEncoder(
            nn.TransformerEncoderLayer(width, **options), config.picture_layers, enable_nested_tensor=False
        )
        self.cluster = nn.Parameter(0.02 * torch.randn(1, width))
        self.of_set = nn.TransformerEncoder(
            nn.TransformerEncoderLayer(width, **options), config.set_layers, nn.LayerNorm(width), False
        )
        self.queries = nn.Parameter(torch.randn(config.tokens, width))
        self.decoder = nn.TransformerDecoder(nn.TransformerDecoderLayer(width, **options), config.decoder_layers)
        self.out = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, config.embedding))

    def forward(
        self,
        pictures: Tensor,  # [C, N, P, F]
        homes: Tensor | None = None,  # int64 [C, K], each prompt's home among the N; None: every picture is one
    ) -> Tensor:
        """Tokens [C, K, M, d]."""
        patches, summaries = self.encode(pictures)
        return self.decode(patches, summaries, homes)

    def encode(
        self,
        pictures: Tensor,  # [C, N, P, F]
    ) -> tuple[Tensor, Tensor]:
        """Every picture's patches [C, N, P, W], and summaries [C, 1 + N, W], of the cluster and of each picture."""
        clusters, count = pictures.shape[:2]
        seen = self.patch(pictures).flatten(0, 1)  # [C N, P, W]
        seen = torch.cat([seen.new_zeros(len(seen), 1, seen.shape[-1]), seen], dim=1) + self.place
        seen = self.of_picture(seen).unflatten(0, (clusters, count))
        summaries = torch.cat([self.cluster.expand(clusters, 1, -1), seen[:, :, 0]], dim=1)
        return seen[:, :, 1:], self.of_set(summaries)

    def decode(
        self,
        patches: Tensor,  # [C, N, P, W]
        summaries: Tensor,  # [C, 1 + N, W]
        homes: Tensor | None = None,  # int64 [C, K]
    ) -> Tensor:
        """Tokens [C, K, M, d] of prompts with these homes."""
        clusters, count = patches.shape[:2]
        if homes is None:
            homes = torch.arange(count, device=patches.device).expand(clusters, -1)
        row = torch.arange(clusters, device=patches.device)[:, None]
        home = torch.cat([summaries[row, 1 + homes][:, :, None], patches[row, homes]], dim=2)  # [C, K, 1 + P, W]
        shared = summaries[:, None].expand(-1, homes.shape[1], -1, -1)
        memory = torch.cat([home, shared], dim=2).flatten(0, 1)  # [C K, 2 + P + N, W]
        found = self.decoder(self.queries.expand(len(memory), -1, -1), memory)
        return self.config.scale * self.out(found).unflatten(0, homes.shape)


def homes_of(prompts: int, pictures: int) -> Tensor:
    """int64 [K]: the home of prompt k is picture k mod N, as in coupled learning."""
    return torch.arange(prompts) % pictures
