"""What can be set about score distillation. Torch-free."""

from dataclasses import dataclass

from dreamdist3d.choices import GuidanceKind, StepNoise
from dreamdist3d.typed import demand


@dataclass(frozen=True)
class GuidanceConfig:
    """Multi-view score distillation (MVDream, section 3.3). Steps are given as shares of the whole run.

    Attributes:
        kind: "x0" compares latents with the reconstructed x0; "sds" is the plain SDS gradient; "vsd" takes from it
            what a LoRA of the asset's own has learned of the renders, and wants a guidance scale of about 7.5.
        guidance_scale: classifier-free guidance; MVDream uses 50 at full size.
        recon_std_rescale: share of the guided x0 rescaled to the spread of the unguided one, 0..1.
        max_timestep, min_timestep: (from, to) noise levels in (0, 1), annealed linearly...
        anneal_until: ...over this share of the run.
        clamp_x0: decode, clamp to the pixel range and encode x0 again, so that no latent asks for
            colours that no render can show. Costs a decode and an encode a step.
        background_tolerance: with `clamp_x0`, pixels of x0 this near (share of the full range) to the colour
            of its own border are given the render's background colour. Strong guidance tints backgrounds, and
            a field can follow a tint only by filling with fog. 0 leaves x0 as it is.
        noise: "fresh" in every step, or "fixed": one for each side of the asset, the same in all steps.
        target_steps: of kind x0, DDIM steps to the x0 that renders are pulled to; each costs an evaluation.
        lora_rank, lora_lr: of kind vsd, the LoRA's rank and AdamW's rate.
    """

    kind: GuidanceKind = "x0"
    guidance_scale: float = 50.0
    recon_std_rescale: float = 0.5
    max_timestep: tuple[float, float] = (0.98, 0.50)
    min_timestep: tuple[float, float] = (0.98, 0.02)
    anneal_until: float = 0.8
    clamp_x0: bool = False
    background_tolerance: float = 0.0
    noise: StepNoise = "fresh"
    target_steps: int = 1
    lora_rank: int = 8
    lora_lr: float = 1e-4

    def __post_init__(self) -> None:
        demand(0 <= self.guidance_scale < 10_000, "guidance_scale", self.guidance_scale, "from 0 to below 10000")
        for name in ("recon_std_rescale", "background_tolerance"):
            demand(0 <= getattr(self, name) <= 1, name, getattr(self, name), "from 0 to 1")
        demand(1 <= self.target_steps <= 100, "target_steps", self.target_steps, "from 1 to 100")
        demand(1 <= self.lora_rank <= 1024, "lora_rank", self.lora_rank, "from 1 to 1024")
        demand(0 <= self.lora_lr < 1, "lora_lr", self.lora_lr, "from 0 to below 1")
        demand(0 < self.anneal_until <= 1, "anneal_until", self.anneal_until, "a share of the run above 0 and up to 1")
        for name in ("max_timestep", "min_timestep"):
            levels = getattr(self, name)
            demand(all(0 <= level < 1 for level in levels), name, levels, "noise levels from 0 to below 1")
