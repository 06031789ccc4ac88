"""Soft tokens between fixed words, through a frozen CLIP text encoder (DreamDistribution, section 3.2)."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from dreamdist3d.errors import UserError

if TYPE_CHECKING:
    from transformers import CLIPTextModel, CLIPTokenizer

_AT_ONCE = 64  # prompts through the text encoder


@dataclass(frozen=True)
class PromptFeatures:
    """What the text encoder makes of K prompts."""

    hidden: Tensor  # [K, L, D], last hidden state after the final layer norm: what the UNet attends to
    ends: Tensor  # [K] int64, position of each prompt's end-of-text token

    @property
    def pooled(self) -> Tensor:
        """[K, D], `hidden` at each prompt's end-of-text token."""
        return self.hidden[torch.arange(len(self.hidden), device=self.hidden.device), self.ends]


class SoftPromptEncoder:
    """Encodes prompts whose words are partly vectors: `BOS prefix V_1..V_M suffix EOS pad...`.

    The model's weights are only read; freeze them to keep gradients out of them. Not for use from
    several threads at once on one text encoder.
    """

    def __init__(self, tokenizer: "CLIPTokenizer", text_encoder: "CLIPTextModel") -> None:
        self._tokenizer, self._model = tokenizer, text_encoder
        # Found through the accessor, which looks alike in transformers 4 (`.text_model`) and 5.
        self._embedding = text_encoder.get_input_embeddings()
        self.max_length: int = text_encoder.config.max_position_embeddings
        self.width: int = self._embedding.embedding_dim

    @property
    def device(self) -> torch.device:
        """Where prompts are encoded."""
        return self._embedding.weight.device

    def encode(
        self,
        tokens: Tensor,  # [K, M, d]
        prefix: str = "",
        suffix: str = "",
    ) -> PromptFeatures:
        """Encode K prompts that share their fixed words; differentiable in `tokens`.

        Raises:
            UserError: the tokens are not [K, M, d] with this encoder's d, or the prompt is too long.
        """
        if tokens.ndim != 3 or tokens.shape[-1] != self.width:
            raise UserError(
                f"the prompts are {list(tokens.shape)}, this text encoder takes [K, M, {self.width}]: "
                "use the backbone they were learned with."
            )
        length = tokens.shape[1]
        before, after = self.words(prefix), self.words(suffix)
        self._check_length(len(before) + length + len(after), f"prefix {prefix!r}, {length} tokens, suffix {suffix!r}")
        # The placeholders are looked up like words and then replaced.
        words = [*before, *[self._pad_id] * length, *after]
        # Without a gradient nothing but the result has to stay in memory.
        pieces = [tokens] if torch.is_grad_enabled() else tokens.split(_AT_ONCE)
        found = [self._run_spliced(words, piece, start=1 + len(before)) for piece in pieces]
        return PromptFeatures(torch.cat([f.hidden for f in found]), torch.cat([f.ends for f in found]))

    def _run_spliced(self, words: list[int], tokens: Tensor, start: int) -> PromptFeatures:
        with self._spliced(tokens, start):
            return self._run([words] * len(tokens))

    def encode_text(self, texts: Sequence[str]) -> PromptFeatures:
        """Encode plain texts, each a prompt of its own.

        Raises:
            UserError: a text does not fit; it is never cut silently.
        """
        prompts = [self.words(text) for text in texts]
        for words, text in zip(prompts, texts, strict=True):
            self._check_length(len(words), f"the text {text!r}")
        return self._run(prompts)

    @torch.no_grad()
    def word_vectors(self, text: str) -> Tensor:
        """The looked-up embeddings [M, d] of a text's M tokens, float32: `encode` of them equals the text's own.

        Raises:
            UserError: there is no word in the text.
        """
        words = self.words(text)
        if not words:
            raise UserError(f"the text {text!r} holds no word: give at least one.")
        return self._embedding.weight[torch.tensor(words, device=self.device)].detach().float()

    def vocabulary(self) -> tuple[Tensor, list[str]]:
        """The embeddings [V, d] of all words but the special marks, float32 on the CPU, and the words."""
        special = set(self._tokenizer.all_special_ids)
        entries = sorted((index, word) for word, index in self._tokenizer.get_vocab().items() if index not in special)
        rows = self._embedding.weight.detach()[[index for index, _ in entries]]
        return rows.float().cpu(), [word.replace("</w>", "") for _, word in entries]

    @property
    def _pad_id(self) -> int:
        pad = self._tokenizer.pad_token_id
        return self._tokenizer.eos_token_id if pad is None else pad

    def words(self, text: str) -> list[int]:
        """The token ids of a text, without the marks around it."""
        # SD 2.x pads with "!": without the flag an exclamation mark in a prompt would be read as padding.
        # Not verbose: too long a text is our error to tell, once and in one line.
        found = self._tokenizer(text, add_special_tokens=False, split_special_tokens=True, verbose=False)
        return list(found.input_ids)

    def _check_length(self, words: int, what: str) -> None:
        over = words + 2 - self.max_length
        if over > 0:
            raise UserError(
                f"the prompt is {over} token{'s' * (over > 1)} too long for the text encoder's {self.max_length} "
                f"({what}, begin and end marks): shorten the words or use fewer tokens."
            )

    def _run(self, prompts: list[list[int]]) -> PromptFeatures:
        begin, end = self._tokenizer.bos_token_id, self._tokenizer.eos_token_id
        rows = [[begin, *words, end] for words in prompts]
        ids = [row + [self._pad_id] * (self.max_length - len(row)) for row in rows]
        hidden = self._model(input_ids=torch.tensor(ids, device=self.device))[0]
        # Known by construction: a search by id would stumble over pads equal to EOS or vectors in between.
        ends = torch.tensor([len(row) - 1 for row in rows], device=self.device)
        return PromptFeatures(hidden, ends)

    @contextmanager
    def _spliced(self, tokens: Tensor, start: int) -> Iterator[None]:
        """Put `tokens` in the place of the looked-up embeddings from position `start` on.

        Replacing them where they are looked up leaves positions, causal mask and layer norm to the library.
        """
        stop = start + tokens.shape[1]

        def replace(module: torch.nn.Module, inputs: tuple, looked_up: Tensor) -> Tensor:
            return torch.cat([looked_up[:, :start], tokens.to(looked_up), looked_up[:, stop:]], dim=1)

        hook = self._embedding.register_forward_hook(replace)
        try:
            yield
        finally:
            hook.remove()
