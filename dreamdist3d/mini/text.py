"""The miniature text side: a CLIP tokenizer of the caption grammar, and a small CLIP text encoder."""

import json
from collections.abc import Sequence

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from torch import Tensor
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from dreamdist3d.mini.captions import corpus

CONTEXT = 32
WIDTH = 128
_BOS, _EOS = "<|startoftext|>", "<|endoftext|>"


def build_tokenizer() -> CLIPTokenizer:
    """A byte-level BPE in which every word of the grammar is one token; other text still spells out."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    alphabet = letters + [f"{letter}</w>" for letter in letters]
    # Named as special tokens, the alphabet gets its ids in this order; the trainer numbers the letters that
    # end a word by the order of a hash table, and so breaks ties between merges another way every time.
    trainer = trainers.BpeTrainer(
        vocab_size=4096, min_frequency=1, show_progress=False, special_tokens=alphabet, end_of_word_suffix="</w>"
    )
    bpe = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    bpe.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(" ", "removed"), pre_tokenizers.ByteLevel(False)])
    bpe.train_from_iterator(corpus(), trainer)
    merges = [tuple(pair) for pair in _merges(bpe)]
    tokens = alphabet + ["".join(pair) for pair in merges] + [_BOS, _EOS]
    vocab = {token: index for index, token in enumerate(dict.fromkeys(tokens))}
    return CLIPTokenizer(vocab=vocab, merges=merges, model_max_length=CONTEXT)


def build_text_encoder(tokenizer: CLIPTokenizer, layers: int = 4) -> CLIPTextModel:
    """A new text encoder for `tokenizer`, `WIDTH` wide."""
    return CLIPTextModel(text_config(tokenizer, layers))


def text_config(tokenizer: CLIPTokenizer, layers: int) -> CLIPTextConfig:
    """The configuration shared by the generator's text encoder and the judge's own text tower."""
    return CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=WIDTH,
        intermediate_size=4 * WIDTH,
        projection_dim=WIDTH,
        num_hidden_layers=layers,
        num_attention_heads=4,
        max_position_embeddings=CONTEXT,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )


def tokenize(tokenizer: CLIPTokenizer, texts: Sequence[str]) -> Tensor:
    """[N, CONTEXT] token ids."""
    encoded = tokenizer(list(texts), padding="max_length", max_length=CONTEXT, truncation=True)
    return torch.tensor(encoded.input_ids)


def _merges(bpe: Tokenizer) -> list[list[str]]:
    return json.loads(bpe.to_str())["model"]["merges"]
