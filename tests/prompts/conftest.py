"""What every test of learning starts from."""

import pytest

from dreamdist3d.prompts import load_references
from tests.prompts.tiny import TinyBackbone, write_pictures


@pytest.fixture
def backbone(tmp_path):
    return TinyBackbone(tmp_path / "tokenizer")


@pytest.fixture
def references(tmp_path):
    return load_references(write_pictures(tmp_path / "pictures", 5), 8)


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out" / "d.safetensors"
