"""The nodes in the real ComfyUI on a CPU, through its HTTP API.

    COMFYUI_HOME=/path/to/ComfyUI python -m pytest tests/comfyui

in a Python that has what ComfyUI's requirements.txt asks for.
"""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from dreamdist3d.backbones import load_backbone
from dreamdist3d.comfyui.install import extension_folder
from dreamdist3d.prompts import PromptComposition, PromptDistribution, SoftPromptEncoder
from tests.comfyui.checkpoint import write_checkpoint

HOME = os.environ.get("COMFYUI_HOME")
HERE = Path(__file__).parent
pytestmark = pytest.mark.skipif(not HOME, reason="COMFYUI_HOME does not name a ComfyUI")


@dataclass
class Comfy:
    """A running ComfyUI, and its folder of models, nodes and results."""

    folder: Path
    port: int

    def ask(self, path: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}/{path}", data)
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)

    def run(self, graph: dict[str, Any]) -> dict[str, Any]:
        """What its history says of a graph, once it has ended."""
        number = self.ask("prompt", {"prompt": graph})["prompt_id"]
        for _ in range(300):
            if number in (history := self.ask(f"history/{number}")):
                return history[number]
            time.sleep(0.5)
        raise TimeoutError

    def done(self, graph: dict[str, Any]) -> dict[str, Any]:
        """The outputs of a graph that must succeed."""
        found = self.run(graph)
        assert found["status"]["status_str"] == "success", found["status"]["messages"]
        return found["outputs"]

    def kept(self, name: str) -> torch.Tensor:
        return load_file(self.folder / name)["value"]


@pytest.fixture(scope="module")
def comfy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Comfy]:
    folder = tmp_path_factory.mktemp("comfy")
    checkpoint = write_checkpoint(folder / "models" / "checkpoints" / "tiny.safetensors")
    fingerprint = load_backbone(str(checkpoint)).fingerprint
    (folder / "models" / "prompt_distributions").mkdir()
    for name, seed, encoder in (("caps", 0, fingerprint), ("rings", 1, fingerprint), ("other", 2, "fp16-" + "0" * 64)):
        tokens = 0.02 * torch.randn(4, 3, 768, generator=torch.Generator().manual_seed(seed))
        file = folder / "models" / "prompt_distributions" / f"{name}.safetensors"
        PromptDistribution(tokens, "low_rank", encoder, metadata={"backbone": "sd15"}).save(file)
    (folder / "custom_nodes").mkdir()
    (folder / "custom_nodes" / "comfyui-dreamdist3d").symlink_to(extension_folder())
    (folder / "custom_nodes" / "keep").symlink_to(HERE / "keep")
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    command = [sys.executable, "main.py", "--cpu", "--port", str(port), "--base-directory", str(folder)]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [*command, "--disable-auto-launch"],
            cwd=HOME,
            env=os.environ | {"KEEP": str(folder)},
            stdout=log,
            stderr=log,
        )
    try:
        comfy = Comfy(folder, port)
        for _ in range(240):
            try:
                comfy.ask("system_stats")
                break
            except (urllib.error.URLError, ConnectionError):
                assert process.poll() is None, (folder / "log").read_text()[-3000:]
                time.sleep(0.5)
        yield comfy
    finally:
        process.terminate()
        process.wait()


def graph(**nodes: tuple[str, dict[str, Any]]) -> dict[str, Any]:
    """The model and a distribution, and what else is asked for."""
    loaded = {
        "model": ("CheckpointLoaderSimple", {"ckpt_name": "tiny.safetensors"}),
        "caps": ("DreamdistLoad", {"file": "caps.safetensors"}),
    }
    return {name: {"class_type": kind, "inputs": given} for name, (kind, given) in {**loaded, **nodes}.items()}


def draw(**changes: Any) -> tuple[str, dict[str, Any]]:
    given = {"distribution": ["caps", 0], "clip": ["model", 1], "seed": 5, "gamma": 1.5, "count": 3, "first": 0}
    return "DreamdistDraw", {**given, "prefix": "", "suffix": "", **changes}


@pytest.fixture(scope="module")
def library(comfy: Comfy) -> SoftPromptEncoder:
    """The same checkpoint through our own code, in full precision."""
    backbone = load_backbone(str(comfy.folder / "models" / "checkpoints" / "tiny.safetensors"))
    return SoftPromptEncoder(backbone.tokenizer, backbone.text_encoder)


def known(comfy: Comfy, name: str = "caps") -> PromptDistribution:
    return PromptDistribution.load(comfy.folder / "models" / "prompt_distributions" / f"{name}.safetensors")


def test_its_draws_are_the_library_s(comfy: Comfy, library: SoftPromptEncoder) -> None:
    drawn = graph(
        draw=draw(prefix="a photo of", suffix="at night!"), keep=("Keep", {"conditioning": ["draw", 0], "name": "a"})
    )
    comfy.done(drawn)
    learned, found = known(comfy), comfy.kept("a")
    assert found.shape == (3, 77, 768)
    for number in range(3):
        expected = learned.embed(learned.draw(5 + number, 1.5, "a photo of", "at night!"), library)
        torch.testing.assert_close(found[number], expected, atol=1e-5, rtol=0)


def test_a_plain_text_of_its_own_is_encoded_alike(comfy: Comfy, library: SoftPromptEncoder) -> None:
    """The two text encoders are one: what CLIP Text Encode gives is what the library gives."""
    text = ("CLIPTextEncode", {"clip": ["model", 1], "text": "a red cat"})
    comfy.done(graph(text=text, keep=("Keep", {"conditioning": ["text", 0], "name": "t"})))
    torch.testing.assert_close(comfy.kept("t"), library.encode_text(["a red cat"]).hidden, atol=1e-5, rtol=0)


def test_every_latent_of_a_batch_has_its_own_draw(comfy: Comfy) -> None:
    """Item 2 of a batch of 3, and the same item with draw 2 alone, come out alike; with another draw they do not."""
    sampling = {"model": ["model", 0], "negative": ["none", 0], "seed": 1, "steps": 2, "cfg": 3.0, "denoise": 1.0}
    sampling |= {"sampler_name": "euler", "scheduler": "normal"}
    nodes = {
        "none": ("CLIPTextEncode", {"clip": ["model", 1], "text": ""}),
        "empty": ("EmptyLatentImage", {"width": 64, "height": 64, "batch_size": 3}),
        "third": ("LatentFromBatch", {"samples": ["empty", 0], "batch_index": 2, "length": 1}),
        "all": draw(),
        "draw2": draw(count=1, first=2),
        "draw1": draw(count=1, first=1),
    }
    for name, positive, latent in (("all", "all", "empty"), ("same", "draw2", "third"), ("else", "draw1", "third")):
        given = {**sampling, "positive": [positive, 0], "latent_image": [latent, 0]}
        nodes[f"sample {name}"] = ("KSampler", given)
        nodes[f"keep {name}"] = ("Keep", {"latent": [f"sample {name}", 0], "name": f"latent-{name}"})
    comfy.done(graph(**nodes))
    whole, same, other = (comfy.kept(f"latent-{name}") for name in ("all", "same", "else"))
    torch.testing.assert_close(whole[2:], same, atol=1e-4, rtol=1e-4)
    assert (whole[2:] - other).abs().max() > 1e-2


def test_a_mix_is_the_library_s_composition(comfy: Comfy, library: SoftPromptEncoder) -> None:
    nodes = {
        "rings": ("DreamdistLoad", {"file": "rings.safetensors"}),
        "mix": ("DreamdistMix", {"first": ["caps", 0], "second": ["rings", 0], "share": 0.3, "kind": "blend"}),
        "draw": draw(distribution=["mix", 0], count=1),
        "keep": ("Keep", {"conditioning": ["draw", 0], "name": "m"}),
    }
    comfy.done(graph(**nodes))
    both = PromptComposition((known(comfy), known(comfy, "rings")), (0.3, 0.7), kind="blend")
    torch.testing.assert_close(comfy.kept("m")[0], both.embed(both.draw(5, 1.5), library), atol=1e-5, rtol=0)


def test_inspect_shows_words_in_the_node(comfy: Comfy) -> None:
    outputs = comfy.done(graph(look=("DreamdistInspect", {"distribution": ["caps", 0], "clip": ["model", 1]})))
    (text,) = outputs["look"]["text"]
    assert "4 prompts of 3 tokens" in text and "nearest words: " in text


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"distribution": ["other", 0]}, "another text encoder"),
        ({"prefix": "very " * 80}, "too long for the text encoder"),
    ],
)
def test_what_goes_wrong_is_said_in_the_node(comfy: Comfy, changes: dict[str, Any], said: str) -> None:
    other = ("DreamdistLoad", {"file": "other.safetensors"})
    keep = ("Keep", {"conditioning": ["draw", 0], "name": "e"})
    found = comfy.run(graph(other=other, draw=draw(**changes), keep=keep))
    (error,) = [told for kind, told in found["status"]["messages"] if kind == "execution_error"]
    assert error["node_id"] == "draw" and said in error["exception_message"]


def test_the_example_workflow_makes_a_picture_of_every_draw(comfy: Comfy) -> None:
    example = json.loads((extension_folder() / "example_workflows" / "draws.json").read_text())
    example["1"]["inputs"]["ckpt_name"], example["2"]["inputs"]["file"] = "tiny.safetensors", "caps.safetensors"
    example["5"]["inputs"] |= {"width": 64, "height": 64}
    example["6"]["inputs"]["steps"] = 1
    outputs = comfy.done(example)
    pictures = [comfy.folder / "output" / one["filename"] for one in outputs["8"]["images"]]
    assert len(pictures) == example["3"]["inputs"]["count"] == 4
    for path in pictures:
        with Image.open(path) as image:
            assert image.size == (64, 64)
