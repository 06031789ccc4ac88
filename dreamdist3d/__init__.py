"""From reference images to a distribution over prompts, and from each draw a new 3D asset.

The names below are loaded when they are first touched, so that importing the package imports no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from dreamdist3d.version import __version__

if TYPE_CHECKING:
    from dreamdist3d.backbones import load_backbone
    from dreamdist3d.prompts import PromptDistribution, PromptDraw

__all__ = ["PromptDistribution", "PromptDraw", "__version__", "load_backbone"]

_HOMES = {
    "PromptDistribution": "dreamdist3d.prompts",
    "PromptDraw": "dreamdist3d.prompts",
    "load_backbone": "dreamdist3d.backbones",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
