"""What TRELLIS is asked for."""

from dataclasses import dataclass

from dreamdist3d.choices import TrellisAppearance
from dreamdist3d.typed import demand


@dataclass(frozen=True)
class TrellisConfig:
    """How TRELLIS makes an asset; null keeps what its own pipeline is published with.

    `model` is a folder or a repository of the hub that holds its pipeline.json. Structure (which voxels) and latents
    (what they look like) are sampled one after the other. `project_norms` gives every learned token the mean length of
    the vocabulary's. `appearance` mesh takes the colours of its mesh decoder; gaussians bakes a texture with its own
    code, which needs parts that are not free for commerce (`dreamdist3d doctor --licences`).
    """

    model: str = "microsoft/TRELLIS-text-xlarge"
    structure_steps: int | None = None
    structure_guidance: float | None = None
    latent_steps: int | None = None
    latent_guidance: float | None = None
    project_norms: bool = False
    appearance: TrellisAppearance = "mesh"

    def __post_init__(self) -> None:
        for name in ("structure_steps", "latent_steps"):
            steps = getattr(self, name)
            demand(steps is None or 1 <= steps <= 1000, name, steps, "null, or from 1 to 1000")
        for name in ("structure_guidance", "latent_guidance"):
            scale = getattr(self, name)
            demand(scale is None or 0 <= scale < 1000, name, scale, "null, or from 0 to below 1000")
        demand(bool(self.model.strip()), "model", self.model, "a folder or a repository")
