"""CLIP's tokenizer, which original checkpoints leave out, from the vocabulary that open_clip ships."""

import gzip
import importlib.util
import json
import tempfile
from pathlib import Path

from tokenizers.pre_tokenizers import ByteLevel
from transformers import CLIPTokenizer

from dreamdist3d.errors import UserError

BEGIN, END = "<|startoftext|>", "<|endoftext|>"
_VOCABULARY_FILE = "bpe_simple_vocab_16e6.txt.gz"
_VOCABULARY_SIZE, _MAX_LENGTH = 49408, 77


def clip_tokenizer(pad: str) -> CLIPTokenizer:
    """CLIP's tokenizer; `pad` is "!" (id 0) for Stable Diffusion 2.x and `END` for 1.x.

    Equal to `open_clip.tokenize` but for what that repairs in a text beforehand (HTML entities, curly quotes,
    ligatures, broken encodings).
    """
    with tempfile.TemporaryDirectory() as folder:
        _write(Path(folder), pad)
        return CLIPTokenizer.from_pretrained(folder)


def save_tokenizer(tokenizer: CLIPTokenizer, folder: Path) -> None:
    """Save so that transformers 4 and 5 both can open it."""
    tokenizer.save_pretrained(folder)
    if not (folder / "vocab.json").exists():
        # transformers 5 writes tokenizer.json alone; the tokenizer of transformers 4 wants vocab.json and merges.txt.
        tokenizer.backend_tokenizer.model.save(str(folder))


def _write(folder: Path, pad: str) -> None:
    alphabet = sorted(ByteLevel.alphabet())
    merges = _merges(_VOCABULARY_SIZE - 2 * len(alphabet) - 2)
    tokens = [*alphabet, *(f"{letter}</w>" for letter in alphabet), *("".join(merge.split()) for merge in merges)]
    vocabulary = {token: index for index, token in enumerate([*tokens, BEGIN, END])}
    special = {"bos_token": BEGIN, "eos_token": END, "unk_token": END, "pad_token": pad}
    config = {
        "tokenizer_class": "CLIPTokenizer",
        "model_max_length": _MAX_LENGTH,
        "do_lower_case": True,
        # An exclamation mark in a text is a word; without this it would be read as padding.
        "split_special_tokens": pad != END,
        **special,
    }
    (folder / "vocab.json").write_text(json.dumps(vocabulary), encoding="utf-8")
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges, ""]), encoding="utf-8")
    (folder / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
    (folder / "special_tokens_map.json").write_text(json.dumps(special), encoding="utf-8")


def _merges(number: int) -> list[str]:
    # Found, not imported: the import takes seconds and only the file is wanted.
    spec = importlib.util.find_spec("open_clip")
    if spec is None or spec.origin is None:
        raise UserError("CLIP's vocabulary is not here: pip install open_clip_torch.")
    text = gzip.decompress(Path(spec.origin).with_name(_VOCABULARY_FILE).read_bytes()).decode("utf-8")
    return text.split("\n")[1 : number + 1]
