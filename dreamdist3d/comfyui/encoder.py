"""ComfyUI's own text encoder, in its own precision and place, for our prompts.

Vectors go where ComfyUI puts those of textual inversion: into the list of tokens, in the place of numbers.
"""

from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from dreamdist3d.backbones import TextSide
from dreamdist3d.errors import UserError
from dreamdist3d.prompts.encoder import PromptFeatures, SoftPromptEncoder
from dreamdist3d.prompts.source import PromptSource

_LAST = (None, -1)


class ClipEncoder(SoftPromptEncoder):
    """Prompts through a CLIP of ComfyUI with one text encoder: Stable Diffusion 1.x or 2.x.

    Raises:
        UserError: it has several encoders (SDXL, SD3, Flux), or is set to another layer than the last.
    """

    def __init__(self, clip: Any) -> None:
        self._clip = clip
        name = getattr(clip.cond_stage_model, "clip", None)
        model, words = (getattr(owner, name or "", None) for owner in (clip.cond_stage_model, clip.tokenizer))
        if model is None or words is None:
            kind = type(clip.cond_stage_model).__name__
            raise UserError(
                f"this CLIP ({kind}) is not Stable Diffusion 1.x's or 2.x's, which prompts are learned for."
            )
        if clip.layer_idx not in _LAST:
            raise UserError("CLIP Set Last Layer is in the way: prompts are learned at the text encoder's last layer.")
        self._side, self._padding = model, words.pad_token
        width = SimpleNamespace(max_position_embeddings=words.max_length)
        inner: Any = SimpleNamespace(config=width, get_input_embeddings=model.transformer.get_input_embeddings)
        super().__init__(words.tokenizer, inner)

    def check(self, source: PromptSource) -> None:
        """Raise a UserError unless `source` was learned with this text encoder, whatever LoRA is on it now."""
        weights = _unpatched(self._clip, self._side)
        model = SimpleNamespace(state_dict=lambda: weights)
        source.check_text_side(TextSide(self._tokenizer, model))

    @property
    def _pad_id(self) -> int:
        return self._padding

    def _run(self, prompts: list[list[int]]) -> PromptFeatures:
        return self._encoded([list(words) for words in prompts])

    def _run_spliced(self, words: list[int], tokens: Tensor, start: int) -> PromptFeatures:
        before, after = words[: start - 1], words[start - 1 + tokens.shape[1] :]
        return self._encoded([[*before, *vectors, *after] for vectors in tokens])

    def _encoded(self, prompts: list[list[Any]]) -> PromptFeatures:
        """[K, L, D] of K lists of word numbers and vectors."""
        begin, end = self._tokenizer.bos_token_id, self._tokenizer.eos_token_id
        rows = [[begin, *words, end] for words in prompts]
        padded = [row + [self._padding] * (self.max_length - len(row)) for row in rows]
        tokens = {self._clip.cond_stage_model.clip_name: [[(token, 1.0) for token in row] for row in padded]}
        hidden, _ = self._clip.encode_from_tokens(tokens, return_pooled=True)
        # ComfyUI lays the parts of a long prompt one after the other; these are prompts of their own.
        hidden = hidden.reshape(len(rows), self.max_length, -1).float().cpu()
        return PromptFeatures(hidden, torch.tensor([len(row) - 1 for row in rows]))


def _unpatched(clip: Any, side: Any) -> dict[str, Tensor]:
    """Its weights by transformers' names: without LoRA, text projection, and the layer that 2.x leaves out."""
    backup = getattr(clip.patcher, "backup", {})
    prefix = f"{clip.cond_stage_model.clip}.transformer."
    last = f"text_model.encoder.layers.{side.num_layers - 1}." if side.layer == "hidden" else None
    weights = {}
    for name, value in side.transformer.state_dict().items():
        if name.startswith("text_model.") and not (last and name.startswith(last)):
            kept = backup.get(prefix + name)
            weights[name] = value if kept is None else getattr(kept, "weight", kept)
    return weights
