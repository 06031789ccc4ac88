"""TRELLIS's text pipeline, loaded by its own code; a draw in, a mesh out."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dreamdist3d.backbones import TextSide
from dreamdist3d.backbones.identity import weights_hash
from dreamdist3d.errors import UserError, is_out_of_memory, one_line
from dreamdist3d.prompts import SoftPromptEncoder
from dreamdist3d.prompts.norms import VocabularyNorms
from dreamdist3d.quiet import quiet_loading
from dreamdist3d.trellis.checkout import find_home, import_from
from dreamdist3d.trellis.config import TrellisConfig
from dreamdist3d.trellis.made import Made


@dataclass(frozen=True, eq=False)
class TextTo3D:
    """A loaded `TrellisTextTo3DPipeline` of the checkout in `home`."""

    home: Path
    config: TrellisConfig
    pipeline: Any
    device: str

    @property
    def tokenizer(self) -> Any:
        """CLIP's."""
        return self.pipeline.text_cond_model["tokenizer"]

    @property
    def text_encoder(self) -> Any:
        """CLIP ViT-L/14's text tower, which Stable Diffusion 1.5 has too."""
        return self.pipeline.text_cond_model["model"]

    @cached_property
    def text(self) -> TextSide:
        """What tells whether a distribution was learned with this text encoder."""
        return TextSide(self.tokenizer, self.text_encoder)

    @cached_property
    def weights_sha256(self) -> str:
        """Hex SHA-256 of all its networks' weights."""
        return weights_hash({"text": self.text_encoder, **self.pipeline.models})

    @property
    def encoder(self) -> SoftPromptEncoder:
        """Prompts as TRELLIS reads them: last hidden states, padded to 77, without an attention mask."""
        kind = VocabularyNorms if self.config.project_norms else SoftPromptEncoder
        return kind(self.tokenizer, self.text_encoder)

    @torch.no_grad()
    def make(self, prompt: Tensor, negative: Tensor, seed: int) -> Made:
        """Sample structure and latents under a prompt [L, D] against a negative one, and decode a mesh.

        What TRELLIS draws comes from torch's global generator, which is seeded for it and put back.

        Raises:
            UserError: nothing came of this draw; its numbers are not finite, or there is no surface.
        """
        condition = {"cond": prompt[None].to(self.device), "neg_cond": negative[None].to(self.device)}
        wants_gaussians = self.config.appearance == "gaussians"
        with _seeded(seed):
            coordinates = self.pipeline.sample_sparse_structure(condition, 1, self._settings("structure"))
            if not len(coordinates):
                raise UserError("TRELLIS found no structure for this draw: try another draw_seed or a smaller gamma.")
            latents = self.pipeline.sample_slat(condition, coordinates, self._settings("latent"))
            decoded = self.pipeline.decode_slat(latents, ["mesh", "gaussian"] if wants_gaussians else ["mesh"])
        mesh = decoded["mesh"][0]
        if not mesh.success or not torch.isfinite(mesh.vertices).all():
            raise UserError("TRELLIS made no surface of this draw: try another draw_seed or a smaller gamma.")
        glb = self._textured(decoded["gaussian"][0], mesh) if wants_gaussians else None
        colors = mesh.vertex_attrs[:, :3] if mesh.vertex_attrs is not None else torch.full_like(mesh.vertices, 0.7)
        return Made(
            mesh.vertices.float().cpu().numpy(),
            mesh.faces.cpu().numpy(),
            (colors.float().clamp(0, 1) * 255).round().byte().cpu().numpy(),
            glb,
        )

    def _settings(self, part: str) -> dict[str, Any]:
        """What replaces the pipeline's own sampler settings."""
        wanted = {
            "steps": getattr(self.config, f"{part}_steps"),
            "cfg_strength": getattr(self.config, f"{part}_guidance"),
        }
        return {name: value for name, value in wanted.items() if value is not None}

    def _textured(self, gaussians: Any, mesh: Any) -> bytes:
        """Its own `to_glb`: mesh repaired, texture baked from renders of the gaussians."""
        post = import_from(self.home, "trellis.utils.postprocessing_utils")
        buffer = io.BytesIO()
        with torch.enable_grad():  # it optimises the texture
            post.to_glb(gaussians, mesh, verbose=False).export(buffer, file_type="glb")
        return buffer.getvalue()


def open_pipeline(config: TrellisConfig, device: str) -> TextTo3D:
    """Load the text pipeline with the checkout's own code.

    Raises:
        UserError: no checkout, something it needs is missing, or its weights cannot be had.
    """
    home = find_home()
    pipelines = import_from(home, "trellis.pipelines")
    try:
        with quiet_loading(), torch.random.fork_rng():  # its networks are filled with random numbers first
            pipeline = pipelines.TrellisTextTo3DPipeline.from_pretrained(config.model)
            pipeline.to(torch.device(device))
            pipeline.text_cond_model["model"].to(device)
    except Exception as error:  # whatever the hub, the disk or its code says
        if is_out_of_memory(error):
            raise
        raise UserError(
            f"TRELLIS's pipeline {config.model} cannot be loaded: {one_line(error)} Give system.trellis.model as a "
            "folder with its pipeline.json, or as a repository of the hub."
        ) from error
    return TextTo3D(home, config, pipeline, device)


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Torch's global generators with this seed inside, and as they were outside."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield
