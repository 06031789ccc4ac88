"""S and patches to what stands behind the words of a prompt: two branches, as in CAFE's equation 1."""

import torch
from torch import Tensor, nn

from dreamdist3d.apprentice.details import Details

TOKENS = 4  # that S becomes: of one alone every place would take the same


class Conditions(nn.Module):
    """S [B, S] and patches [B, P, F] to tokens [B, `TOKENS` + P, D] for the UNet's reference attention.

    Args:
        wanted: S, width of the global embedding.
        features: F, of a patch.
        text: D, of the UNet's cross-attention.
    """

    def __init__(self, wanted: int, features: int, text: int) -> None:
        super().__init__()
        self.semantic = nn.Sequential(
            nn.Linear(wanted, TOKENS * text), nn.Unflatten(-1, (TOKENS, text)), nn.LayerNorm(text)
        )
        self.details = Details(features, text)
        self._sizes = wanted, features, text

    def forward(
        self,
        wanted: Tensor,  # [B, S]
        patches: Tensor,  # [B, P, F]
        kept: Tensor | None = None,  # bool [B, 2]
    ) -> Tensor:
        """[B, `TOKENS` + P, D]; zeros, which are exactly nothing, for a branch that is not `kept`."""
        branches = [self.semantic(wanted), self.details(patches[:, None])]
        if kept is not None:
            branches = [branch * kept[:, i, None, None] for i, branch in enumerate(branches)]
        return torch.cat(branches, dim=1)

    @property
    def sizes(self) -> tuple[int, int, int]:
        """What it was made with: wanted, features, text."""
        return self._sizes
