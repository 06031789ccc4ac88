"""Textual-inversion embeddings: ours in diffusers, theirs here."""

import os

import pytest
import torch
from diffusers.loaders import TextualInversionLoaderMixin
from safetensors.torch import load_file, save_file

from dreamdist3d.errors import UserError
from dreamdist3d.prompts import PromptDistribution
from dreamdist3d.prompts.formats.textual_inversion import read_embedding, write_embedding
from tests.prompts.tiny import WIDTH, tiny_text_encoder, tiny_tokenizer

SUFFIXES = (".safetensors", ".bin")
VECTORS = torch.randn(3, WIDTH, generator=torch.Generator().manual_seed(0))


def one_prompt(vectors=VECTORS):
    return PromptDistribution(vectors[None], "low_rank", "ab", prefix="a photo of")


def write(content, path):
    save_file(content, path) if path.suffix == ".safetensors" else torch.save(content, path)
    return path


class Pipeline(TextualInversionLoaderMixin):
    """As much of a diffusers pipeline as its loader touches."""

    hf_device_map = None

    def __init__(self, folder):
        self.tokenizer = tiny_tokenizer(folder)
        self.text_encoder = tiny_text_encoder(self.tokenizer)
        self.components = {}


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("count", [1, 3])
def test_diffusers_loads_what_is_written(tmp_path, suffix, count):
    path = tmp_path / f"learned_embeds{suffix}"
    write_embedding(one_prompt(VECTORS[:count]), path, "<cats>")
    pipeline = Pipeline(tmp_path / "tokenizer")
    pipeline.load_textual_inversion(str(tmp_path), weight_name=path.name, local_files_only=True)
    prompt = pipeline.maybe_convert_prompt("a photo of <cats>", pipeline.tokenizer)
    ids = pipeline.tokenizer(prompt, add_special_tokens=False).input_ids
    rows = pipeline.text_encoder.get_input_embeddings().weight[ids]
    assert len(ids) == 3 + count and torch.equal(rows[3:], VECTORS[:count])


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_what_is_written_is_read_bit_by_bit(tmp_path, suffix):
    write_embedding(one_prompt(), tmp_path / f"e{suffix}", "<cats>")
    name, vectors = read_embedding(tmp_path / f"e{suffix}")
    assert name == "<cats>" and torch.equal(vectors, VECTORS)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_one_vector_without_a_dimension_for_it_is_read(tmp_path, suffix):
    name, vectors = read_embedding(write({"<cat>": VECTORS[0].clone().half()}, tmp_path / f"e{suffix}"))
    assert name == "<cat>" and vectors.dtype == torch.float32
    assert torch.equal(vectors, VECTORS[:1].half().float())


@pytest.mark.parametrize("named,expected", [({"name": "cats"}, "cats"), ({}, "file"), ({"name": ["odd"]}, "['odd']")])
def test_the_layout_of_automatic1111_is_read(tmp_path, named, expected):
    content = {"string_to_token": {"*": 265}, "string_to_param": {"*": torch.nn.Parameter(VECTORS)}, "step": 500}
    name, vectors = read_embedding(write(content | named, tmp_path / "file.pt"))
    assert name == expected and torch.equal(vectors, VECTORS) and not vectors.requires_grad


def test_the_layout_of_the_original_code_is_read_and_none_of_it_run(tmp_path):
    parameters = torch.nn.ParameterDict({"*": torch.nn.Parameter(VECTORS)})
    content = {"string_to_token": {"*": torch.tensor(265)}, "string_to_param": parameters}
    torch.save(content, tmp_path / "embeddings_gs-6099.pt")
    name, vectors = read_embedding(tmp_path / "embeddings_gs-6099.pt")
    assert name == "embeddings_gs-6099" and torch.equal(vectors, VECTORS) and not vectors.requires_grad
    torch.save(content | {"string_to_param": torch.nn.Linear(2, 2)}, tmp_path / "code.pt")
    with pytest.raises(UserError, match="would run code"):
        read_embedding(tmp_path / "code.pt")


@pytest.mark.parametrize("suffix", [".safetensors", ".SAFETENSORS", ".pt"])
def test_the_layout_of_kohya_is_read(tmp_path, suffix):
    path = tmp_path / f"my cat{suffix}"
    content = {"emb_params": VECTORS}
    save_file(content, path) if suffix.lower() == ".safetensors" else torch.save(content, path)
    name, vectors = read_embedding(path)
    assert name == "my cat" and torch.equal(vectors, VECTORS)


def test_what_lies_beside_the_vectors_is_left_alone(tmp_path):
    content = {"<cat>": VECTORS, "step": 500, "sd_checkpoint_name": "v1-5", "order": torch.arange(4), "shape": None}
    name, vectors = read_embedding(write(content, tmp_path / "e.bin"))
    assert name == "<cat>" and torch.equal(vectors, VECTORS)


@pytest.mark.parametrize("token", [None, "clip_l"])
def test_an_embedding_of_several_encoders_is_refused_by_name(tmp_path, token):
    path = write({"clip_l": VECTORS.clone(), "clip_g": torch.zeros(3, 32)}, tmp_path / "sdxl.safetensors")
    with pytest.raises(UserError, match=r"several text encoders \(clip_g, clip_l\), as SDXL"):
        read_embedding(path, token)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_of_several_tokens_one_must_be_named(tmp_path, suffix):
    path = write({"<a>": VECTORS[:1].clone(), "<b>": VECTORS[1:].clone()}, tmp_path / f"e{suffix}")
    with pytest.raises(UserError, match="2 tokens, '<a>', '<b>': name one with --token"):
        read_embedding(path)
    with pytest.raises(UserError, match="no token '<c>' but '<a>', '<b>'"):
        read_embedding(path, "<c>")
    name, vectors = read_embedding(path, "<b>")
    assert name == "<b>" and torch.equal(vectors, VECTORS[1:])


@pytest.mark.parametrize(
    "content,message",
    [
        ({"<a>": VECTORS[None]}, r"'<a>' has the shape \[1, 3, 16\]"),
        ({"<a>": VECTORS * float("nan")}, "'<a>' holds numbers that are not finite"),
        ({"<a>": VECTORS.int()}, "no dense tensor of floats"),
        ({"<a>": "words"}, "no dense tensor of floats but str"),
        ({}, "no {token: vectors}"),
        (VECTORS, "holds Tensor"),
        ({"string_to_param": {}}, "'string_to_param' does not hold one"),
        ({"string_to_param": VECTORS}, "'string_to_param' does not hold one"),
        ({"string_to_param": {"*": VECTORS, "+": VECTORS}}, "'string_to_param' does not hold one"),
    ],
)
def test_odd_embeddings_are_refused_in_one_line_that_names_the_file(tmp_path, content, message):
    with pytest.raises(UserError, match=message) as caught:
        read_embedding(write(content, tmp_path / "e.bin"))
    assert "e.bin" in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("kept", [0, 4, 40, 200])
def test_a_truncated_safetensors_file_is_no_traceback(tmp_path, kept):
    path = write({"<a>": VECTORS}, tmp_path / "e.safetensors")
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(UserError, match="cannot be read as safetensors"):
        read_embedding(path)


def test_a_pickle_under_the_name_of_safetensors_is_not_unpickled(tmp_path):
    class Bomb:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "trace"),)

    torch.save({"<a>": Bomb()}, tmp_path / "e.safetensors")
    torch.save({"<a>": Bomb()}, tmp_path / "e.bin")
    for name, message in (("e.safetensors", "cannot be read as safetensors"), ("e.bin", "would run code")):
        with pytest.raises(UserError, match=message):
            read_embedding(tmp_path / name)
    assert not (tmp_path / "trace").exists()


def test_several_prompts_are_no_embedding_and_the_error_says_the_ways_out(tmp_path):
    several = PromptDistribution(VECTORS[:, None], "low_rank", "ab")
    with pytest.raises(UserError, match="has 3: learn with --prompts 1, or .*official layout"):
        write_embedding(several, tmp_path / "e.bin", "<a>")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["", "two words", " a", "a\n", "__metadata__"])
def test_names_that_no_prompt_can_hold_are_refused(tmp_path, name):
    with pytest.raises(UserError, match="token"):
        write_embedding(one_prompt(), tmp_path / "e.safetensors", name)
    assert not list(tmp_path.iterdir())


def test_equal_embeddings_make_equal_files(tmp_path):
    for name in ("a", "b"):
        write_embedding(one_prompt(), tmp_path / f"{name}.safetensors", "<cats>")
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()
    assert list(load_file(tmp_path / "a.safetensors")) == ["<cats>"]
