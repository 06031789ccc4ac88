"""Clusters on disk."""

import shutil

import pytest
import torch

from dreamdist3d.apprentice import Bank
from dreamdist3d.errors import UserError


def test_pictures_are_found_by_their_place_across_shards(bank):
    both = bank.latents([11, 12])
    assert torch.equal(both[0], bank.latents(range(12))[11])
    assert torch.equal(both[1], bank.latents(range(12, 24))[0])
    assert [len(bank.split(name)) for name in ("train", "known", "unknown")] == [3, 1, 1]
    assert bank.pictures[12].source == "1/0"


@pytest.mark.parametrize("broken", ["mined.json", "clusters.jsonl", "bank/00001.safetensors"])
@pytest.mark.parametrize("how", ["cut", "gone"])
def test_what_is_missing_or_damaged_is_told(bank, tmp_path, broken, how):
    copy = shutil.copytree(bank.folder, tmp_path / "copy")
    path = copy / broken
    content = path.read_bytes()
    path.unlink()
    if how == "cut":
        path.write_bytes(content[: len(content) // 2])
    with pytest.raises(UserError, match=r"mine|cannot be read"):
        Bank(copy).latents([0])
