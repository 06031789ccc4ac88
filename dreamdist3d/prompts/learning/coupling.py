"""Which pictures a step sees, and, in coupled learning, which draw each of them belongs to."""

import math

import torch
from torch import Tensor

from dreamdist3d.randomness import generator_for

LIMIT = 1.0  # of draws' distance from the mean, in the prompts' median distance; see docs/prompt-distributions.md


class Coupling:
    """Pairs the draws of a `low_rank` Gaussian of K prompts with N pictures, once for the whole of learning.

    Every prompt has pictures of its own and every picture a prompt (`pairs_of`); z_k is the mean of prompt k's.
    Half of a step's samples are prompts alone, omega = sqrt(K - 1) e_k, so that c = h_k, each with a picture of its
    own. The others are omega ~ N(0, I), each with the picture that lies nearest to the same mix of pictures,
    mean(z) + sum_k omega_k (z_k - mean(z)) / sqrt(K - 1). With K = 1, textual inversion, all are of the first kind.

    Costs N D numbers while it is made and K N afterwards; a step costs one [B, K] x [K, N] product.
    """

    def __init__(
        self,
        pictures: Tensor,  # [N, ...] anything in which distances mean something: latents
        prompts: int,  # K
    ) -> None:
        self._prompts, self._pairs = prompts, pairs_of(prompts, len(pictures))
        points = pictures.detach().flatten(1).cpu().double()
        own = torch.zeros(prompts, len(points), dtype=torch.float64)
        own[self._pairs[:, 0], self._pairs[:, 1]] = 1
        own = own / own.sum(dim=1, keepdim=True) @ points  # [K, D]
        points, own = points - own.mean(0), own - own.mean(0)
        # |mix - z_i|^2 = |mix|^2 - 2 <mix, z_i> + |z_i|^2, of which the first does not matter to the choice.
        self._products = own @ points.T / math.sqrt(max(1, prompts - 1))  # [K, N]
        self._half_squares = points.square().sum(dim=1) / 2  # [N]

    def nearest(
        self,
        omega: Tensor,  # [B, K]
    ) -> Tensor:
        """int64 [B]: the picture nearest to the mix of pictures that omega stands for."""
        return (omega.double() @ self._products - self._half_squares).argmax(dim=1)

    def draw(self, batch: int, step: int, seed: int) -> tuple[list[int], Tensor, Tensor]:
        """A step's B pictures, their omega float32 [B, 1, K], and which are prompts alone, from (seed, step) alone."""
        # Counted over all steps: an odd batch has its half in two of them. One prompt has no draws, only its pictures.
        parts = 1 if self._prompts == 1 else 2
        first, last = step * batch // parts, (step + 1) * batch // parts
        homes, alone = self._pairs[shuffled_rounds(len(self._pairs), first, last, seed)], last - first
        omega = torch.zeros(batch, self._prompts)
        omega[torch.arange(alone), homes[:, 0]] = math.sqrt(max(1, self._prompts - 1))
        omega[alone:] = torch.randn((batch - alone, self._prompts), generator=generator_for(seed, "omega", step))
        chosen = [*homes[:, 1].tolist(), *self.nearest(omega[alone:]).tolist()]
        return chosen, omega[:, None], torch.arange(batch) < alone


def pairs_of(prompts: int, pictures: int) -> Tensor:
    """int64 [max(K, N), 2]: (prompt, picture), counted round both, so that nobody is left out.

    With K >= N prompt k has the one picture k mod N; with K < N picture i has the one prompt i mod K.
    """
    count = torch.arange(max(prompts, pictures))
    return torch.stack([count % prompts, count % pictures], dim=1)


def shuffled_rounds(count: int, start: int, stop: int, seed: int) -> list[int]:
    """Places `start` to `stop` of endless shuffled rounds, in each of which every one of `count` items comes once."""
    rounds: dict[int, list[int]] = {}
    chosen = []
    for position in range(start, stop):
        number, place = divmod(position, count)
        if number not in rounds:
            rounds[number] = torch.randperm(count, generator=generator_for(seed, "round", number)).tolist()
        chosen.append(rounds[number][place])
    return chosen
