"""Peak memory of a full-size step, counted on any machine: no weights, no GPU, nothing computed.

    python benchmarks/peak_bytes.py guidance            # the MVDream lift's guidance, forward and backward
    python benchmarks/peak_bytes.py learn --pixels 768  # a step of learning on Stable Diffusion 2.1
    python benchmarks/peak_bytes.py apprentice --pixels 512  # a step of an apprentice's training, and its operations
    python benchmarks/peak_bytes.py generator --pixels 512   # a step of the assistant's generator
    python benchmarks/peak_bytes.py draw                # the lift by views: its views drawn
    python benchmarks/peak_bytes.py render              # a step of the lift without its guidance; this one computes
    python benchmarks/peak_bytes.py fit                 # a step of the lift by views; so does this one

The first five run the real code on tensors that have shapes and no contents, and add up the bytes of those alive at
the same time, weights included. A GPU needs more: workspaces of its kernels, fragmentation, and the CUDA context.
Prints one JSON line for each setting.
"""

import json
import os
import weakref
from dataclasses import replace
from typing import Any, Literal

import torch
import tyro
from diffusers import DDPMScheduler
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from dreamdist3d.apprentice import Apprentice, ApprenticeConfig
from dreamdist3d.assistant.generator.conditions import TOKENS, Conditions
from dreamdist3d.backbones import Backbone, install_joint_attention, install_reference_attention
from dreamdist3d.backbones.reference_attention import ReferenceAttention
from dreamdist3d.config import load_config
from dreamdist3d.guidance import Condition, MultiviewGuidance
from dreamdist3d.lift.cameras import CameraRanges, sample_cameras
from dreamdist3d.lift.photometric import fit_step
from dreamdist3d.lift.pool import ViewPool
from dreamdist3d.lift.state import LiftState
from dreamdist3d.prompts import LearnConfig, SoftPromptEncoder
from dreamdist3d.prompts.learning.execution import Execution, prepared
from dreamdist3d.prompts.learning.objective import StepDraws, objective
from dreamdist3d.roads.artist import Artist, Order
from dreamdist3d.roads.views import first_cameras
from random_model import architecture, byte_tokenizer

CONFIG = "dreamdist3d/mvdream.yaml"
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


class LiveBytes(TorchDispatchMode):
    """Counts the bytes of all storages that are alive: those it is told of, and those made while it is on."""

    def __init__(self, *modules: torch.nn.Module) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._sizes: dict[int, int] = {}
        for module in modules:
            for weight in module.parameters():
                self._count(weight)
        self.weights = self.now

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(out):
            if isinstance(tensor, Tensor):
                self._count(tensor)
        return out

    def _count(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        if storage._cdata not in self._sizes:
            self._sizes[storage._cdata] = storage.nbytes()
            self.now += storage.nbytes()
            self.peak = max(self.peak, self.now)
            weakref.finalize(storage, self._forget, storage._cdata)

    def _forget(self, key: int) -> None:
        self.now -= self._sizes.pop(key)


def report(live: LiveBytes, **settings: Any) -> None:
    """One line of JSON."""
    sizes = {"weights_gib": live.weights / 2**30, "peak_gib": live.peak / 2**30}
    print(json.dumps(settings | {name: round(value, 2) for name, value in sizes.items()}), flush=True)


def full_size(size: Literal["sd21", "mvdream"], dtype: torch.dtype) -> Backbone:
    """A backbone of that architecture; its tensors are those of the mode this is called under."""
    torch.set_default_dtype(dtype)
    models = {name: build().eval().requires_grad_(False) for name, build in architecture(size).items()}
    torch.set_default_dtype(torch.float32)
    n_views = 4 if size == "mvdream" else 1
    if n_views > 1:
        install_joint_attention(models["unet"], n_views)
    scheduler = DDPMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
    return Backbone(
        name=size,
        source="shapes",
        tokenizer=byte_tokenizer(),
        scheduler=scheduler,
        n_views=n_views,
        image_size=8 * models["unet"].config.sample_size,
        fingerprint="",
        device=torch.device("cpu"),
        dtype=dtype,
        **models,
    )


def guidance() -> None:
    """Both stages of the shipped configuration; the text encoder has left the GPU by then."""
    config = load_config(CONFIG)
    for precision, dtype in DTYPES.items():
        with FakeTensorMode(allow_non_fake_inputs=True):
            backbone = full_size("mvdream", dtype)
            for backbone.low_vram in (False, True):
                for pixels, views in zip(config.data.resolution, config.data.batch_views, strict=True):
                    live = LiveBytes(backbone.unet, backbone.vae)
                    with live:
                        _guide(backbone, config.system.guidance, pixels, views)
                    report(live, precision=precision, low_vram=backbone.low_vram, pixels=pixels, views=views)


def _guide(backbone: Backbone, config: Any, pixels: int, views: int) -> None:
    rgb = torch.rand(views, 3, pixels, pixels).requires_grad_()
    cameras = sample_cameras(CameraRanges(), views // backbone.n_views, torch.Generator().manual_seed(0))
    call = MultiviewGuidance(backbone, torch.randn(77, 1024), torch.randn(77, 1024), config)
    call(rgb, cameras, 0.5, torch.Generator().manual_seed(0), torch.zeros(3)).backward()


def learn(pixels: int = 768) -> None:
    """The default learning, weights in float32; bf16 is autocast."""
    for precision in DTYPES:
        for checkpointing in (False, True):
            with FakeTensorMode(allow_non_fake_inputs=True):
                backbone = full_size("sd21", torch.float32)
                live = LiveBytes(backbone.unet, backbone.vae, backbone.text_encoder)
                with prepared(backbone, Execution(precision, checkpointing=checkpointing)), live:
                    _learn(backbone, LearnConfig(), pixels // 8)
            report(live, precision=precision, checkpointing=checkpointing, pixels=pixels)


def _learn(backbone: Backbone, config: LearnConfig, size: int) -> None:
    tokens = torch.randn(config.prompts, config.tokens, 1024).requires_grad_()
    features = SoftPromptEncoder(backbone.tokenizer, backbone.text_encoder).encode(tokens)
    latents, noise = torch.randn(2, config.batch, 4, size, size)
    omega = torch.randn(config.batch, config.samples, config.prompts)
    alone = torch.arange(config.batch) < config.batch // 2
    draws = StepDraws(latents, noise, torch.randint(1000, (config.batch,)), omega, alone)
    objective(backbone, features, draws, config).backward(inputs=[tokens])


def draw() -> None:
    """A round of the lift by views, of two steps, for one asset; sampling the first views passes the same networks."""
    config = load_config(CONFIG, ["system.lift.kind=views", "system.prompt_processor.prompt=a"])
    views = replace(config.system.lift.views, round_steps=2)
    cameras = first_cameras(config.data, views.count, views.elevation_deg)
    for precision, dtype in DTYPES.items():
        with FakeTensorMode(allow_non_fake_inputs=True):
            backbone = full_size("mvdream", dtype)
            for backbone.low_vram in (False, True):
                live = LiveBytes(backbone.unet, backbone.vae)
                with live:
                    text, pictures = torch.randn(77, 1024), torch.rand(views.count, 3, 256, 256)
                    order = Order(Condition(text, text), cameras, torch.Generator().manual_seed(0))
                    Artist(backbone, views).redraw([order], [pictures], 0.5)
                report(live, precision=precision, low_vram=backbone.low_vram, views=views.count)


def fit() -> None:
    """The second step of a fit late in it, on the field every run begins with."""
    config = load_config(CONFIG, ["system.lift.kind=views", "system.prompt_processor.prompt=a"])
    views, lift = config.system.lift.views, config.lift()
    state, pool = LiftState(lift, 0, "cpu"), ViewPool(256, views.pool, views.fading)
    state.step = views.steps * 3 // 4 // lift.renderer.occupancy_every * lift.renderer.occupancy_every
    while len(pool) < views.pool:
        pool.add(first_cameras(config.data, 4, 15.0), torch.rand(4, 3, 256, 256), torch.rand(4, 256, 256))
    live = LiveBytes(state.field)
    with live:
        for _ in range(2):
            live.peak = live.now
            fit_step(state, pool, views.rays, views.samples_per_ray)
    report(live, rays=views.rays, samples=views.samples_per_ray, pool=len(pool))


def apprentice(pixels: int = 512, width: int = 768) -> None:
    """A step of `Lessons.pictures` on 64 pictures, 32 of them denoised; and its floating point operations."""
    for precision in DTYPES:
        with FakeTensorMode(allow_non_fake_inputs=True):
            backbone = full_size("sd21", torch.float32)
            network = Apprentice(ApprenticeConfig(64, 768 + 768, 1024, 0.01, width=width, heads=width // 64))
            live = LiveBytes(backbone.unet, backbone.text_encoder, network)
            counter = FlopCounterMode(display=False)
            with prepared(backbone, Execution(precision)), live, counter:
                _teach(network, backbone, pixels // 8)
        parameters = sum(weight.numel() for weight in network.parameters())
        tflop = round(counter.get_total_flops() / 1e12, 1)
        report(live, precision=precision, parameters=parameters, tflop=tflop)
    os._exit(0)  # the interpreter's end, with fake tensors that were counted, crashes now and then


def _teach(network: Apprentice, backbone: Backbone, size: int) -> None:
    encoder = SoftPromptEncoder(backbone.tokenizer, backbone.text_encoder)
    tokens = network(torch.randn(8, 8, 64, 768 + 768))
    text = encoder.encode(tokens.flatten(0, 1)).hidden[:32]
    latents, times = torch.randn(32, 4, size, size), torch.randint(1000, (32,))
    with torch.no_grad():
        target = backbone.predict(latents, times, torch.randn(32, 77, 1024))
    (backbone.predict(latents, times, text) - target).square().mean().backward()


def generator(pixels: int = 512, batch: int = 64) -> None:
    """A step of the assistant's generator: S of CLIP ViT-L/14 and 256 patches of DINOv2 ViT-B/14 beside the words."""
    ReferenceAttention.to = lambda self, *_: self  # fake weights are where they should be, and cannot be moved
    for precision in DTYPES:
        for checkpointing in (False, True):
            with FakeTensorMode(allow_non_fake_inputs=True):
                backbone = full_size("sd21", torch.float32)
                layers = install_reference_attention(backbone.unet, 77, [TOKENS]).requires_grad_(True)
                conditions = Conditions(768, 768, 1024)
                live = LiveBytes(backbone.unet, backbone.text_encoder, conditions)
                with prepared(backbone, Execution(precision, checkpointing=checkpointing)), live:
                    latents, times = torch.randn(batch, 4, pixels // 8, pixels // 8), torch.randint(1000, (batch,))
                    shown = conditions(torch.randn(batch, 768), torch.randn(batch, 256, 768))
                    text = torch.cat([torch.randn(batch, 77, 1024), shown], dim=1)
                    backbone.predict(latents, times, text).square().mean().backward()
            learned = sum(weight.numel() for module in (layers, conditions) for weight in module.parameters())
            settings = {"precision": precision, "checkpointing": checkpointing, "pixels": pixels, "batch": batch}
            report(live, **settings, learned=learned)
    os._exit(0)  # as of `apprentice`


def render(pixels: int = 128) -> None:
    """The second step after a renewal of the occupancy grid, on the field every run begins with.

    Args:
        pixels: of the four views. The shipped configuration has 256, which takes four times the memory of 128.
    """
    config = load_config(CONFIG, [f"data.resolution=[64,{pixels}]"]).lift()
    state = LiftState(config, 0, "cpu")
    state.step = config.max_steps * 3 // 4 // config.renderer.occupancy_every * config.renderer.occupancy_every
    live = LiveBytes(state.field)
    with live:
        for _ in range(2):
            live.peak = live.now
            with state.rendered() as step:
                loss, _ = step.losses(step.renders.rgb.square().sum())
            loss.backward()
            state.descend()
    occupied = float(state.occupancy.occupied(torch.rand(10_000, 3) * 2 - 1).float().mean())
    report(live, pixels=pixels, samples=config.renderer.num_samples_per_ray[1], occupied=round(occupied, 2))


if __name__ == "__main__":
    tyro.extras.subcommand_cli_from_dict(
        {
            "guidance": guidance,
            "learn": learn,
            "apprentice": apprentice,
            "generator": generator,
            "draw": draw,
            "render": render,
            "fit": fit,
        }
    )
