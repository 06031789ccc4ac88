"""The caption grammar and the tokenizer that was made for it."""

import re

import numpy as np
import pytest

from dreamdist3d.mini.captions import (
    BACKGROUND_NAMES,
    CAPTIONS_PER_OBJECT,
    SHAPE_WORDS,
    VIEW_NAMES,
    background_suffix,
    captions,
    view_suffix,
)
from dreamdist3d.mini.families import FAMILIES, build
from dreamdist3d.mini.grids import SAMPLE_CAPTIONS
from dreamdist3d.mini.palette import COLOR_NAMES
from dreamdist3d.mini.surface import MATERIALS, PATTERNS
from dreamdist3d.mini.text import CONTEXT, build_text_encoder, build_tokenizer, tokenize


@pytest.fixture(scope="module")
def tokenizer():
    return build_tokenizer()


@pytest.fixture(scope="module")
def world():
    """(spec, its captions) of a few hundred objects."""
    pairs = []
    for seed in range(20):
        for family in FAMILIES:
            rng = np.random.default_rng([seed, list(FAMILIES).index(family)])
            spec = build(family, rng)
            pairs.append((spec, captions(spec, rng)))
    return pairs


def test_captions_go_from_the_fullest_to_the_bare_name(world):
    for spec, (full, colors, main, bare) in world:
        assert bare in (f"a {spec.family}", f"an {spec.family}")
        assert main.endswith(f"{spec.main_color} {spec.family}")
        both = f"{spec.main_color} and {spec.second_color}" if spec.second_color else spec.main_color
        for text in (full, colors):
            assert f"{both} {spec.family} with " in text and text.endswith(f"{spec.part_color} {spec.part}")
        said = set(full.split()) & set(SHAPE_WORDS)
        assert said <= {*spec.shape_words, *spec.part_words}
        assert not set(colors.partition(" with ")[0].split()) & set(SHAPE_WORDS)
    assert all(len(texts) == CAPTIONS_PER_OBJECT for _, texts in world)


def test_patterns_are_always_named_and_what_goes_without_saying_sometimes(world):
    plain, matt = [], []
    for spec, (full, colors, _, bare) in world:
        words = set(full.split())
        assert words & set(PATTERNS) <= {spec.pattern} and words & set(MATERIALS) <= {spec.material}
        assert not set(bare.split()) & {*PATTERNS, *MATERIALS}
        if spec.pattern != "plain":
            assert spec.pattern in words and spec.pattern in colors.split()
        else:
            plain.append("plain" in words)
        if spec.material != "matt":
            assert spec.material in words
        else:
            matt.append("matt" in words)
    for said in (plain, matt):
        assert 0.35 < np.mean(said) < 0.65


def test_articles(world):
    for spec, texts in world:
        for text in texts:
            assert re.match(r"an? ", text)
            for article, word in re.findall(r"\b(an?) (\w)", text):
                assert article == ("an" if word in "aeiou" else "a"), text
            after_with = text.partition(" with ")[2]
            assert bool(re.match(r"an? ", after_with)) == (bool(after_with) and not spec.part_is_plural)
    assert any(" an orange" in text or text.startswith("an orange") for _, texts in world for text in texts)


def test_every_word_of_every_caption_is_one_token(world, tokenizer):
    words = {word for _, texts in world for text in texts for word in text.split()}
    words |= {word for text in SAMPLE_CAPTIONS for word in text.split()}
    words |= {*PATTERNS, *MATERIALS, *BACKGROUND_NAMES, "and", "background"}
    words |= {*FAMILIES, *COLOR_NAMES, *SHAPE_WORDS, *VIEW_NAMES, *(kind.part for kind in FAMILIES.values())}
    words |= {"view", "photo", "render", "one", "with", "of", "the", ","}
    words -= {"two-tone"}  # the tokenizer parts words at a hyphen
    assert tokenizer.tokenize("two-tone") == ["two</w>", "-</w>", "tone</w>"]
    spelt = {word: tokenizer.tokenize(word) for word in words}
    assert {word: parts for word, parts in spelt.items() if len(parts) != 1} == {}
    assert tokenizer.unk_token_id not in {tokenizer.convert_tokens_to_ids(parts[0]) for parts in spelt.values()}
    assert all(parts[0] == f"{word}</w>" for word, parts in spelt.items())


def test_every_caption_fits_with_its_direction(world, tokenizer):
    for _, texts in world:
        for text in texts:
            words = text.replace("two-tone", "two - tone").split()
            ids = tokenizer(text + view_suffix(90.0)).input_ids
            assert len(ids) == len(words) + 5  # start, comma, two words, end
            ids = tokenizer(text + background_suffix("textured") + view_suffix(90.0)).input_ids
            assert len(ids) == len(words) + 8 and len(ids) < CONTEXT - 4


def test_ids_begin_end_and_are_padded(tokenizer):
    ids = tokenize(tokenizer, ["a red mug", ""])
    assert ids.shape == (2, CONTEXT)
    assert ids[0, 0] == ids[1, 0] == tokenizer.bos_token_id
    assert ids[0, 4] == ids[1, 1] == tokenizer.eos_token_id and (ids[0, 5:] == tokenizer.pad_token_id).all()
    assert tokenizer.decode(ids[0], skip_special_tokens=True).split() == ["a", "red", "mug"]


def test_unknown_words_spell_out_and_come_back(tokenizer):
    text = "a zebra & a café 7!"
    ids = tokenizer(text).input_ids
    assert len(ids) > 10
    assert tokenizer.decode(ids, skip_special_tokens=True).replace(" ", "") == text.replace(" ", "")


def test_the_tokenizer_is_the_same_every_time_and_fits_its_encoder(tokenizer):
    for _ in range(5):
        assert build_tokenizer().get_vocab() == tokenizer.get_vocab()
    encoder = build_text_encoder(tokenizer, layers=1)
    ids = tokenize(tokenizer, list(SAMPLE_CAPTIONS))
    assert int(ids.max()) < encoder.config.vocab_size == len(tokenizer)
    assert encoder(ids).last_hidden_state.isfinite().all()


def test_view_suffixes_are_the_nearest_of_four_directions():
    directions = {0: "front", 90: "side", 180: "back", 270: "side"}
    for azimuth in np.arange(-359.5, 720.0, 1.0):
        nearest = min(directions, key=lambda d, a=azimuth: abs((a - d + 180) % 360 - 180))
        assert view_suffix(float(azimuth)) == f", {directions[nearest]} view"
