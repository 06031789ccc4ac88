"""How a step of learning is computed: precision, compilation, memory. Never what it computes."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial, wraps
from typing import Any, get_args

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from dreamdist3d.backbones import Backbone
from dreamdist3d.choices import LearnPrecision
from dreamdist3d.errors import UserError


@dataclass(frozen=True)
class Execution:
    """Choices of speed and memory.

    Raises:
        UserError: an unknown precision.
    """

    precision: LearnPrecision = "auto"  # bf16: autocast of text encoder and UNet
    compile: bool = False  # the UNet; pays off over hundreds of steps
    checkpointing: bool = False  # compute activations again in the backward pass instead of keeping them

    def __post_init__(self) -> None:
        if self.precision not in get_args(LearnPrecision):
            raise UserError(f"precision={self.precision!r} is unknown: it is one of {get_args(LearnPrecision)}.")

    def autocasts(self, device: torch.device) -> bool:
        """Whether the models run in bf16 on `device`; `auto` is bf16 on GPUs that compute in it (Ampere and later).

        CPUs stay in float32: without matrix units for bf16 it is slower there.
        """
        if self.precision != "auto":
            return self.precision == "bf16"
        return device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0)


DEFAULT_EXECUTION = Execution()


@contextmanager
def prepared(backbone: Backbone, execution: Execution) -> Iterator[None]:
    """Let the frozen text encoder and UNet compute as `execution` says; afterwards they are as they were."""
    with ExitStack() as stack:
        if execution.checkpointing:
            for model in (backbone.text_encoder, backbone.unet):
                stack.enter_context(_checkpointed(model))
        if execution.autocasts(backbone.device):
            for model in (backbone.text_encoder, backbone.unet):
                stack.enter_context(_autocast(model, backbone.device.type))
        if execution.compile:
            stack.enter_context(_compiled(backbone.unet))
        yield


@contextmanager
def _autocast(model: nn.Module, device_type: str) -> Iterator[None]:
    """bf16 inside the model's forward alone: moments, loss and optimizer stay in float32."""
    forward = model.forward

    @wraps(forward)
    def lower(*arguments, **named):
        with torch.autocast(device_type, torch.bfloat16):
            return forward(*arguments, **named)

    model.forward = lower
    try:
        yield
    finally:
        del model.forward  # the class's own shows again


@contextmanager
def _checkpointed(model: nn.Module) -> Iterator[None]:
    """Gradient checkpointing of a model in eval mode.

    The libraries checkpoint only layers that are `training` (transformers, older diffusers), so just the layers
    that ask for it are told so: their children stay in eval mode, and with them every dropout.
    """
    layers = [module for module in model.modules() if isinstance(getattr(module, "gradient_checkpointing", None), bool)]
    names = ("gradient_checkpointing", "_gradient_checkpointing_func", "training")
    before = [[getattr(layer, name, None) for name in names] for layer in layers]
    _set(layers, names, [[True, partial(checkpoint, use_reentrant=False), True]] * len(layers))
    try:
        yield
    finally:
        _set(layers, names, before)


def _set(layers: Sequence[nn.Module], names: Sequence[str], values: Sequence[Sequence[Any]]) -> None:
    for layer, row in zip(layers, values, strict=True):
        for name, value in zip(names, row, strict=True):
            setattr(layer, name, value)


@contextmanager
def _compiled(model: nn.Module, backend: str = "inductor") -> Iterator[None]:
    """The model's calls compiled for fixed shapes, which is what every step of learning has."""
    model.compile(backend=backend, dynamic=False)
    try:
        yield
    finally:
        model._compiled_call_impl = None  # torch has no public way back
