"""Score distillation on renders.

Imports nothing heavy by itself: the configuration (`dreamdist3d.guidance.config`) is read without torch.
"""

import importlib

_NAMES = ("MultiviewGuidance", "guide_together", "plain_background", "rescale_std")
_EXPORTS = dict.fromkeys(_NAMES, "multiview")
__all__ = list(_EXPORTS)


def __getattr__(name: str) -> object:
    if name not in _EXPORTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_EXPORTS[name]}"), name)
