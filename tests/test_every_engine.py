"""One distribution, every engine: learned on Stable Diffusion 1.5, the same draw for MVDream-1.5, TRELLIS and ComfyUI.

Small models in the published layouts that share one text encoder, in full precision here and in half precision there.
"""

import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from transformers import CLIPTextModel, CLIPTokenizer

from dreamdist3d.backbones import load_backbone
from dreamdist3d.comfyui.encoder import ClipEncoder
from dreamdist3d.prompts import LearnConfig, SoftPromptEncoder, learn, load_references
from dreamdist3d.trellis.config import TrellisConfig
from dreamdist3d.trellis.pipeline import open_pipeline
from tests.backbones.convert.conftest import stable_diffusion, stable_diffusion_1_text, version_1_tensors
from tests.comfyui import standins
from tests.prompts.tiny import write_pictures
from tests.trellis.conftest import MINIMAL, pipeline_folder


def test_one_draw_is_the_same_prompt_everywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRELLIS_HOME", str(MINIMAL))
    monkeypatch.setattr(sys, "path", [*sys.path])
    text = stable_diffusion_1_text()
    with torch.no_grad():
        for weight in text.parameters():  # such as half precision keeps
            weight.copy_(weight.half().float())
    folder = stable_diffusion(tmp_path / "sd15", text, "<|endoftext|>", attention_head_dim=8)
    file = tmp_path / "sd-v1.5-4view.safetensors"
    save_file({name: value.half().contiguous() for name, value in version_1_tensors(camera=True).items()}, file)

    sd15 = load_backbone(str(folder))
    references = load_references(write_pictures(tmp_path / "pictures", 3), sd15.image_size)
    settings = LearnConfig(prompts=2, tokens=2, batch=2, steps=2)
    learned = learn(sd15, references, settings, tmp_path / "caps.safetensors")

    mvdream15 = load_backbone(str(file))
    trellis = open_pipeline(TrellisConfig(str(pipeline_folder(tmp_path / "trellis", folder))), "cpu")
    tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer")
    clip = standins.clip(CLIPTextModel.from_pretrained(folder / "text_encoder").eval(), tokenizer)
    learned.check_model(mvdream15)
    learned.check_text_side(trellis.text)
    ClipEncoder(clip).check(learned)

    draw = learned.draw(7, 1.5, prefix="a photo of")
    encoders = [
        *(SoftPromptEncoder(model.tokenizer, model.text_encoder) for model in (sd15, mvdream15)),
        trellis.encoder,
        ClipEncoder(clip),
    ]
    first, *others = (learned.embed(draw, encoder) for encoder in encoders)
    assert first.shape == (77, 64)
    for other in others:
        torch.testing.assert_close(other, first, atol=1e-5, rtol=0)
    for name in [name for name in sys.modules if name.split(".")[0] == "trellis"]:
        del sys.modules[name]
