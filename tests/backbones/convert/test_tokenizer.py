"""The tokenizer built from open_clip's vocabulary against open_clip's own."""

import open_clip
import pytest
from transformers import CLIPTokenizer

from dreamdist3d.backbones.convert.tokenizer import BEGIN, END, clip_tokenizer, save_tokenizer

TEXTS = [
    "",
    "a photo of a cat",
    "Hello, World!",
    "wow!!! ok ! no",
    "it's a dog's life, they've DON'T",
    "  lots   of\tspace\nand lines ",
    "3d asset, 4k, 1234567890, 50% off, f/2.8 (bokeh:1.2)",
    "naïve café über ÀÉÎÕÜ straße",
    "e\u0301 as two code points, \u00e9 as one",
    "東京タワー 한국어 العربية हिन्दी ไทย русский ελληνικά",
    "🍄🍄 mushroom 👩‍🚀 x² ½ Ⅷ",
    "antidisestablishmentarianism_snake-case/CamelCase",
    "word " * 100,
    "!",
]


@pytest.fixture(scope="module")
def tokenizer():
    return clip_tokenizer("!")


@pytest.mark.parametrize("text", TEXTS)
def test_equals_open_clip(tokenizer, text):
    ids = tokenizer(text, padding="max_length", truncation=True).input_ids
    assert ids == open_clip.tokenize([text])[0].tolist()


def test_stable_diffusion_1_pads_with_the_end_mark():
    tokenizer, text = clip_tokenizer(END), "a red mushroom!"
    ids = tokenizer(text, padding="max_length", truncation=True).input_ids
    expected = open_clip.tokenize([text])[0].tolist()
    assert ids == [*expected[:6], *[49407] * 71]


def test_the_marks_and_the_length_are_clips(tokenizer):
    marks = {"bos": tokenizer.bos_token_id, "eos": tokenizer.eos_token_id, "pad": tokenizer.pad_token_id}
    assert marks == {"bos": 49406, "eos": 49407, "pad": 0}
    assert tokenizer.model_max_length == 77 and len(tokenizer) == 49408
    assert (tokenizer.bos_token, tokenizer.eos_token) == (BEGIN, END)


def test_what_is_saved_reads_the_same_with_the_files_of_both_generations(tokenizer, tmp_path):
    save_tokenizer(tokenizer, tmp_path)
    assert {"vocab.json", "merges.txt", "tokenizer_config.json"} <= {path.name for path in tmp_path.iterdir()}
    for _ in range(2):
        read = CLIPTokenizer.from_pretrained(tmp_path)
        assert read(TEXTS).input_ids == tokenizer(TEXTS).input_ids
        assert read.get_vocab() == tokenizer.get_vocab() and read.pad_token_id == 0
        (tmp_path / "tokenizer.json").unlink(missing_ok=True)
