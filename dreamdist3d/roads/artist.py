"""The model as one who draws: several views of an object at once, from noise or over what is there already."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dreamdist3d.backbones import Backbone, add_noise, denoise, latent_shape
from dreamdist3d.guidance import plain_background
from dreamdist3d.guidance.base import Condition
from dreamdist3d.lift.cameras import Cameras, camera_condition
from dreamdist3d.roads.config import ViewsConfig
from dreamdist3d.roads.cut import PLAIN, border_of

_SET_AT = (0.4, 0.56, 0.72, 0.84)  # shares of the first views' steps at which their backdrop is put in order
_TOLERANCE = 0.08  # of the pixel range: what is as near as this to its picture's border is backdrop
_ALIKE = 0.25  # of the pixel range: colours that are told apart badly
_HARDLY = 0.03  # of an object: less does not count
_BACKDROPS = torch.tensor(
    [[1.0] * 3, [0.5] * 3, [0.0] * 3, *([float(bit) for bit in f"{number:03b}"] for number in (5, 2, 1, 6, 3, 4))]
)  # white, gray and black before colours, which shine on what stands before them


@dataclass(frozen=True)
class Order:
    """The views of one asset."""

    condition: Condition
    cameras: Cameras  # V
    generator: torch.Generator  # on the CPU, of the noise


class Artist:
    """Draws the views of several assets in one pass of each network, and each as it would alone.

    The V views of an asset see one another (joint attention), also where V is a multiple of what the model was
    trained on.
    """

    def __init__(self, backbone: Backbone, config: ViewsConfig) -> None:
        self.backbone, self.config = backbone, config

    @torch.no_grad()
    def draw(self, orders: Sequence[Order]) -> list[Tensor]:
        """Pictures [V, 3, S, S] in [0, 1] of each asset, from noise alone."""
        total, steps = len(self.backbone.alphas_cumprod), self.config.sampling_steps
        timesteps = [round(total * (1 - number / steps)) - 1 for number in range(steps)]
        return self._denoised(orders, self._noise(orders), timesteps, Backdrops(self.backbone, orders, steps))

    @torch.no_grad()
    def redraw(self, orders: Sequence[Order], pictures: Sequence[Tensor], level: float) -> list[Tensor]:
        """The same, over pictures [V, 3, S, S] in [0, 1] of each asset that are noised up to `level` in (0, 1)."""
        latents = self.backbone.encode_images(torch.cat(list(pictures)) * 2 - 1)
        highest = max(1, int(len(self.backbone.alphas_cumprod) * level))
        steps = self.config.round_steps
        timesteps = [max(1, round(highest * (1 - number / steps))) for number in range(steps)]
        start = torch.full((len(latents),), timesteps[0], device=latents.device)
        return self._denoised(
            orders, add_noise(self.backbone, latents, self._noise(orders).to(latents), start), timesteps
        )

    def _noise(self, orders: Sequence[Order]) -> Tensor:
        shape = latent_shape(self.backbone)
        return torch.cat([torch.randn(len(one.cameras.c2w), *shape, generator=one.generator) for one in orders])

    def _denoised(
        self,
        orders: Sequence[Order],
        noisy: Tensor,
        timesteps: Sequence[int],
        edited: Callable[[Tensor, int], Tensor] = lambda clean, step: clean,
    ) -> list[Tensor]:
        counts = [len(one.cameras.c2w) for one in orders]
        text, negative = (
            torch.cat([tokens.expand(n, -1, -1) for tokens, n in zip(side, counts, strict=True)])
            for side in ([one.condition.text for one in orders], [one.condition.negative for one in orders])
        )
        cameras = camera_condition(torch.cat([one.cameras.c2w for one in orders]))
        latents = denoise(
            self.backbone,
            noisy,
            timesteps,
            text,
            negative,
            self.config.guidance_scale,
            cameras,
            self.config.count,
            self.config.rescale,
            edited,
        )
        return list((self.backbone.decode_latents(latents) / 2 + 0.5).clamp(0, 1).split(counts))


class Backdrops:
    """Puts one colour, the one least like the object, behind the first views of each asset while they are drawn.

    What is drawn on the model's own backdrop, a gray with a shade around the object, is cut badly. Views whose
    backdrops are not plain are left as they are.
    """

    def __init__(self, backbone: Backbone, orders: Sequence[Order], steps: int) -> None:
        self._backbone, self._counts = backbone, [len(one.cameras.c2w) for one in orders]
        self._at = {int(share * steps) for share in _SET_AT}
        self._colors: list[Tensor] | None = None

    def __call__(self, clean: Tensor, step: int) -> Tensor:
        """The clean latents of a step, with their backdrops in order when it is time."""
        if step not in self._at:
            return clean
        pictures = (self._backbone.decode_latents(clean) / 2 + 0.5).clamp(0, 1)
        parts = pictures.split(self._counts)
        self._colors = self._colors or [backdrop_for(part, _is_object(part)) for part in parts]
        behind = [color.expand(len(part), 3) for part, color in zip(parts, self._colors, strict=True)]
        ordered = plain_background(pictures, torch.cat(behind), _TOLERANCE)
        is_plain = border_of(pictures)[1] <= PLAIN
        encoded = self._backbone.encode_images(ordered * 2 - 1)
        return torch.where(is_plain.to(clean.device)[:, None, None, None], encoded, clean)


def backdrop_for(pictures: Tensor, is_object: Tensor) -> Tensor:
    """Of white, gray, black and six pure colours the first that the smallest share of the object comes near to: [3].

    Args:
        pictures: [V, 3, H, W] in [0, 1].
        is_object: bool [V, H, W].
    """
    colors = pictures.movedim(1, -1)[is_object]
    if not len(colors):
        return _BACKDROPS[0]
    near = [(colors - one.to(colors)).abs().amax(dim=-1) < _ALIKE for one in _BACKDROPS]
    return _BACKDROPS[min(range(len(near)), key=lambda number: max(_HARDLY, float(near[number].float().mean())))]


def _is_object(pictures: Tensor) -> Tensor:
    return (pictures - border_of(pictures)[0][..., None, None]).abs().amax(dim=1) > _TOLERANCE
