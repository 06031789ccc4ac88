"""Load, draw, mix, inspect."""

from pathlib import Path
from typing import Any

import folder_paths  # ComfyUI's own

from dreamdist3d.choices import CompositionKind

_FOLDER = "prompt_distributions"  # below ComfyUI's models/, or where extra_model_paths.yaml says
_CATEGORY = "dreamdist3d"
_DISTRIBUTION = "PROMPT_DISTRIBUTION"
_SEEDS, _MOST = 2**32 - 1, 256

folder_paths.add_model_folder_path(_FOLDER, str(Path(folder_paths.models_dir) / _FOLDER))
folder_paths.folder_names_and_paths[_FOLDER][1].add(".safetensors")


class LoadPromptDistribution:
    """A file of `dreamdist3d learn`, `mix` or `convert` out of models/prompt_distributions."""

    CATEGORY = _CATEGORY
    RETURN_TYPES = (_DISTRIBUTION,)
    FUNCTION = "load"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {"required": {"file": (folder_paths.get_filename_list(_FOLDER),)}}

    @classmethod
    def IS_CHANGED(cls, file: str) -> float:
        """Read again when the file has changed."""
        return Path(folder_paths.get_full_path_or_raise(_FOLDER, file)).stat().st_mtime

    def load(self, file: str) -> tuple[Any]:
        """Read it."""
        from dreamdist3d.prompts import load_distribution

        return (load_distribution(Path(folder_paths.get_full_path_or_raise(_FOLDER, file))),)


class DrawPrompts:
    """Draws of a distribution as conditioning: one for every latent of a batch, in its order.

    Draw i has the seed `seed + first + i`, as in `dreamdist3d sample`, so that any item of a batch can be drawn alone.
    """

    CATEGORY = _CATEGORY
    RETURN_TYPES = ("CONDITIONING",)
    FUNCTION = "draw"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        number = {"min": 0, "max": _SEEDS}
        return {
            "required": {
                "distribution": (_DISTRIBUTION,),
                "clip": ("CLIP",),
                "seed": ("INT", {"default": 0, **number, "control_after_generate": True}),
                "gamma": ("FLOAT", {"default": 1.0, "min": 0.0, "max": 100.0, "step": 0.05}),
                "count": ("INT", {"default": 1, "min": 1, "max": _MOST, "tooltip": "the batch size of the latents"}),
                "first": ("INT", {"default": 0, **number, "tooltip": "the number in the batch of the first draw"}),
            },
            "optional": {
                "prefix": (
                    "STRING",
                    {"default": "", "tooltip": "words before the tokens; empty: the stored ones; a space: none"},
                ),
                "suffix": (
                    "STRING",
                    {"default": "", "tooltip": "words after them; empty: the stored ones; a space: none"},
                ),
            },
        }

    def draw(
        self,
        distribution: Any,
        clip: Any,
        seed: int,
        gamma: float,
        count: int,
        first: int,
        prefix: str = "",
        suffix: str = "",
    ) -> tuple[list[list[Any]]]:
        """Encode the draws, [count, L, D]."""
        from dreamdist3d.comfyui.encoder import ClipEncoder
        from dreamdist3d.prompts.batches import embed_draws

        encoder = ClipEncoder(clip)
        encoder.check(distribution)
        words = prefix or None, suffix or None
        draws = [distribution.draw((seed + first + i) % (_SEEDS + 1), gamma, *words) for i in range(count)]
        return ([[embed_draws(distribution, draws, encoder), {}]],)


class MixPromptDistributions:
    """Two distributions as one: a family in between (blend), or now one and now the other (mixture)."""

    CATEGORY = _CATEGORY
    RETURN_TYPES = (_DISTRIBUTION,)
    FUNCTION = "mix"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        share = {"default": 0.5, "min": 0.0, "max": 1.0, "step": 0.01, "tooltip": "of the first"}
        return {
            "required": {
                "first": (_DISTRIBUTION,),
                "second": (_DISTRIBUTION,),
                "share": ("FLOAT", share),
                "kind": (["blend", "mixture"],),
            }
        }

    def mix(self, first: Any, second: Any, share: float, kind: CompositionKind) -> tuple[Any]:
        """Compose them; what is a composition already gives its components."""
        from dreamdist3d.comfyui.distributions import mixed

        return (mixed(first, second, share, kind),)


class InspectPromptDistribution:
    """What a distribution holds, in words: shown in the node, and handed on as text."""

    CATEGORY = _CATEGORY
    RETURN_TYPES = ("STRING",)
    FUNCTION = "inspect"
    OUTPUT_NODE = True

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {"required": {"distribution": (_DISTRIBUTION,), "clip": ("CLIP",)}}

    def inspect(self, distribution: Any, clip: Any) -> dict[str, Any]:
        """Describe it."""
        from dreamdist3d.comfyui.distributions import told
        from dreamdist3d.comfyui.encoder import ClipEncoder

        encoder = ClipEncoder(clip)
        encoder.check(distribution)
        text = told(distribution, encoder)
        return {"ui": {"text": [text]}, "result": (text,)}


NODE_CLASS_MAPPINGS = {
    "DreamdistLoad": LoadPromptDistribution,
    "DreamdistDraw": DrawPrompts,
    "DreamdistMix": MixPromptDistributions,
    "DreamdistInspect": InspectPromptDistribution,
}
NODE_DISPLAY_NAME_MAPPINGS = {
    "DreamdistLoad": "Load prompt distribution",
    "DreamdistDraw": "Draw prompts",
    "DreamdistMix": "Mix prompt distributions",
    "DreamdistInspect": "Inspect prompt distribution",
}
