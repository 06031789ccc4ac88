"""The assistant's model: pictures and words into a causal language model, words and the wanted embedding out of it.

CAFE, section 3.1 and 4.1: picture features enter the language model's input space through one linear layer V; a
learnable token stands after the text, and a linear layer H takes its last state to S, the CLIP embedding of the picture
that is wanted. Loss (equation 2): language modelling + lambda * mean squared error of S.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import LogitsProcessor, LogitsProcessorList

from dreamdist3d.assistant.tokenizer import ASSISTANT, PAST, USER

IGNORED = -100  # a label that no loss looks at
MOST_NEW = 90  # tokens of an answer


def prompt_of(request: str, past: str = "") -> str:
    """What the language model is asked: `<past> ... <user> ... <assistant>`."""
    return f"{PAST} {past} {USER} {request} {ASSISTANT}" if past else f"{USER} {request} {ASSISTANT}"


@dataclass(frozen=True)
class Batch:
    """Prompts and answers as numbers; the wanted token's place is right after each answer."""

    ids: Tensor  # [B, L]
    lengths: Tensor  # [B], tokens of prompt and answer
    labels: Tensor  # [B, L], the answer's tokens, else `IGNORED`


class AssistantModel(nn.Module):
    """A causal language model of transformers with the layers V and H and the learnable token.

    Args:
        llm: any causal language model that takes `inputs_embeds`.
        tokenizer: its own.
        features: F, width of the pictures' features.
        wanted: S, width of the wanted embedding.
    """

    def __init__(self, llm: Any, tokenizer: Any, features: int, wanted: int) -> None:
        super().__init__()
        self.llm, self.tokenizer = llm, tokenizer
        width = llm.get_input_embeddings().embedding_dim
        self.project = nn.Linear(features, width)
        self.token = nn.Parameter(0.02 * torch.randn(width))
        self.head = nn.Linear(width, wanted)

    def own_parameters(self) -> dict[str, Tensor]:
        """Everything but the language model: the layers V and H, and the token."""
        return {name: value for name, value in self.state_dict().items() if not name.startswith("llm.")}

    def batch(self, prompts: Sequence[str], answers: Sequence[str], taught: Sequence[bool] | None = None) -> Batch:
        """Tokens of prompts with their answers; of those not `taught`, no word is a label."""
        rows, labels = [], []
        for i, (prompt, answer) in enumerate(zip(prompts, answers, strict=True)):
            before, after = self._ids(prompt, begin=True), self._ids(answer) + [self.tokenizer.eos_token_id]
            rows.append(before + after)
            learned = after if taught is None or taught[i] else [IGNORED] * len(after)
            labels.append([IGNORED] * len(before) + learned)
        longest = max(map(len, rows))
        pad = self.tokenizer.pad_token_id or 0
        return Batch(
            torch.tensor([row + [pad] * (longest - len(row)) for row in rows]),
            torch.tensor([len(row) for row in rows]),
            torch.tensor([row + [IGNORED] * (longest - len(row)) for row in labels]),
        )

    def forward(self, features: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """The language modelling loss, a scalar, and the wanted embeddings [B, S].

        Args:
            features: of the pictures [B, P, F].
            batch: prompts and answers.
        """
        device = self.token.device
        batch = Batch(batch.ids.to(device), batch.lengths.to(device), batch.labels.to(device))
        words = self.llm.get_input_embeddings()(batch.ids)
        blank = words.new_zeros(len(words), 1, words.shape[-1])
        rows = torch.arange(len(words), device=device)
        token = self.token.to(words.dtype).expand(len(words), -1)
        words = torch.cat([words, blank], dim=1).index_put((rows, batch.lengths), token)
        inputs = torch.cat([self.project(features).to(words.dtype), words], dim=1)
        pictures = features.shape[1]
        ends = pictures + batch.lengths
        mask = torch.arange(inputs.shape[1], device=device)[None] <= ends[:, None]
        output = self.llm(inputs_embeds=inputs, attention_mask=mask.long(), output_hidden_states=True)
        # Position P + i - 1 predicts word i.
        logits = output.logits[:, pictures - 1 : -2]
        loss = F.cross_entropy(logits.flatten(0, 1).float(), batch.labels.flatten(), ignore_index=IGNORED)
        return loss, self.head(output.hidden_states[-1][rows, ends].float())

    @torch.no_grad()
    def answer(
        self,
        features: Tensor,
        prompt: str,
        begun: str = "",
        most: int = MOST_NEW,
        grammar: LogitsProcessor | None = None,
    ) -> str:
        """The most likely answer to one prompt about one picture's features [P, F], as text.

        Args:
            begun: how the answer begins, where that is known, such as what the picture shows.
            most: tokens after that.
            grammar: takes words away that may not follow.
        """
        ids = torch.tensor([self._ids(prompt, begin=True) + self._ids(begun)], device=self.token.device)
        words = self.llm.get_input_embeddings()(ids)
        inputs = torch.cat([self.project(features[None].to(self.token.device)).to(words.dtype), words], dim=1)
        made = self.llm.generate(
            inputs_embeds=inputs,
            attention_mask=torch.ones(inputs.shape[:2], dtype=torch.long, device=inputs.device),
            max_new_tokens=most,
            do_sample=False,
            logits_processor=LogitsProcessorList([grammar] if grammar else []),
            eos_token_id=self.tokenizer.eos_token_id,
            pad_token_id=self.tokenizer.pad_token_id or 0,
        )[0]
        kept = made[made != self.tokenizer.eos_token_id]
        return f"{begun} {self.tokenizer.decode(kept, skip_special_tokens=False)}".strip()

    @torch.no_grad()
    def wanted(self, features: Tensor, prompts: Sequence[str], answers: Sequence[str]) -> Tensor:
        """The wanted embeddings [N, S] of N answers to prompts about one picture's features [P, F]."""
        return self(features.expand(len(prompts), -1, -1), self.batch(prompts, answers))[1]

    def _ids(self, text: str, begin: bool = False) -> list[int]:
        ids = list(self.tokenizer(text, add_special_tokens=False).input_ids)
        start = [self.tokenizer.bos_token_id] if begin and self.tokenizer.bos_token_id is not None else []
        return start + ids


def build_model(tokenizer: Any, features: int, wanted: int, width: int = 128, layers: int = 3) -> AssistantModel:
    """A new miniature assistant: a Llama of 0.8 million parameters, and the layers around it."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=3 * width,
        num_hidden_layers=layers,
        num_attention_heads=4,
        max_position_embeddings=256,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return AssistantModel(LlamaForCausalLM(config), tokenizer, features, wanted)
