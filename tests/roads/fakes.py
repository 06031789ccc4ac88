"""A model that knows what it is asked for: a disc, seen from everywhere alike, in the colour its text says."""

from dataclasses import replace
from types import SimpleNamespace

import torch
from torch import Tensor, nn

from dreamdist3d.backbones import Backbone
from dreamdist3d.guidance import Condition
from dreamdist3d.guidance.config import GuidanceConfig
from dreamdist3d.lift.config import DataConfig
from dreamdist3d.roads import RoadConfig
from dreamdist3d.roads.config import LiftChoice, ViewsConfig
from tests.guidance.fakes import LENGTH, WIDTH, linear_backbone
from tests.lift.fakes import small_config

SIZE = 16
VIEWS = ViewsConfig(
    steps=12,
    rays=256,
    samples_per_ray=12,
    count=4,
    sampling_steps=4,
    rounds=2,
    redrawn=(0.4, 0.7),
    noise=(0.5, 0.3),
    round_steps=2,
    pool=12,
    level_start=(0.0, 0.5),
)


class KnowingUNet(nn.Module):
    """Whatever the noise, the clean picture is a disc of the colour in the text's first three numbers, on gray."""

    config = SimpleNamespace(
        class_embed_type="projection",
        projection_class_embeddings_input_dim=16,
        in_channels=12,
        sample_size=SIZE // 2,
    )

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.alphas, self.vae, self.evaluations = backbone.alphas_cumprod, backbone.vae, 0

    def forward(self, latents, timesteps, encoder_hidden_states, class_labels, cross_attention_kwargs):
        self.evaluations += len(latents) / 8  # a pair of guidance for four views is one
        clean = (self.vae.encode(self.pictures(encoder_hidden_states[:, 0, :3])).latents - 0.1) * 0.7
        alpha = self.alphas[timesteps].view(-1, 1, 1, 1)
        return SimpleNamespace(sample=(alpha.sqrt() * latents - clean) / (1 - alpha).sqrt())

    def pictures(self, colors: Tensor) -> Tensor:
        """[B, 3, S, S] in [-1, 1] for colours [B, 3] in [0, 1]; a colour below 0 is an empty picture."""
        place = (torch.arange(SIZE) + 0.5) * 2 / SIZE - 1
        disc = (place[:, None].square() + place[None].square() < 0.35).float()
        shown = disc * (colors[:, :1, None] >= 0)
        gray = torch.full_like(colors, 0.5)[..., None, None]
        return torch.lerp(gray.expand(-1, -1, SIZE, SIZE), colors[..., None, None].clamp(min=0), shown[:, None]) * 2 - 1


def knowing_backbone() -> Backbone:
    """A real `Backbone` around it."""
    backbone = linear_backbone(image_size=SIZE)
    return replace(backbone, unet=KnowingUNet(backbone))


def condition(*color: float) -> Condition:
    """A text that asks for this colour; the negative one asks for the same, so that guidance changes nothing."""
    text = torch.zeros(LENGTH, WIDTH)
    text[0, :3] = torch.tensor(color)
    return Condition(text, text)


def road(**changes: object) -> RoadConfig:
    """A lift by views of twelve steps."""
    data = DataConfig(
        resolution=(6, 8),
        batch_views=(4, 4),
        until=(0.5, 1.0),
        fovy_range_deg=(40.0, 40.0),
        camera_distance_range=(0.565, 0.565),
    )
    choice = LiftChoice("views", replace(VIEWS, **changes))
    return RoadConfig(choice, choice.applied(small_config(data=data)), GuidanceConfig())
