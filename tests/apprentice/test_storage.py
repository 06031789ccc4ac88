"""An apprentice's file."""

import pytest
import torch
from safetensors.torch import save_file

from dreamdist3d.apprentice.storage import load_apprentice
from dreamdist3d.backbones import TextSide
from dreamdist3d.errors import UserError
from tests.prompts.tiny import tiny_text_encoder, tiny_tokenizer


def test_what_is_saved_is_read_in_half_precision(trained, tmp_path):
    trained.facts["steps"] = "3"
    trained.known["scores"] = torch.rand(6, 4).half().float()
    trained.save(tmp_path / "a.safetensors")
    read = load_apprentice(tmp_path / "a.safetensors")
    shown = torch.randn(1, 3, 16, 16)
    torch.testing.assert_close(read.apprentice(shown), trained.apprentice(shown), atol=1e-3, rtol=0)
    assert (read.fingerprint, read.inputs, read.facts) == (trained.fingerprint, "latents", {"steps": "3"})
    assert torch.equal(read.known["scores"], trained.known["scores"])


def test_files_that_are_none_are_refused_in_one_line(trained, tmp_path):
    with pytest.raises(UserError, match="does not exist"):
        load_apprentice(tmp_path / "none.safetensors")
    save_file({"tokens": torch.zeros(2)}, tmp_path / "other.safetensors", {"format": "dreamdist3d-distribution-1"})
    with pytest.raises(UserError, match="is no apprentice"):
        load_apprentice(tmp_path / "other.safetensors")
    trained.save(tmp_path / "a.safetensors")
    content = (tmp_path / "a.safetensors").read_bytes()
    (tmp_path / "cut.safetensors").write_bytes(content[: len(content) // 2])
    with pytest.raises(UserError, match="no whole apprentice"):
        load_apprentice(tmp_path / "cut.safetensors")


def test_another_text_encoder_is_refused(trained, tmp_path):
    tokenizer = tiny_tokenizer(tmp_path)
    trained.check_encoder(TextSide(tokenizer, tiny_text_encoder(tokenizer)))
    with pytest.raises(UserError, match="another text encoder"):
        trained.check_encoder(TextSide(tokenizer, tiny_text_encoder(tokenizer, seed=1)))
