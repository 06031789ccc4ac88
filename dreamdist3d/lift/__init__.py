"""From a guidance to a 3D field: cameras, field, volume rendering, the optimisation loop.

Imports nothing heavy by itself: the configuration (`dreamdist3d.lift.config`) is read without torch.
"""

import importlib

_EXPORTS = {
    "Field": "field",
    "lift": "optimize",
    "load_field": "optimize",
    "render_silhouettes": "outputs",
    "save_views": "outputs",
}
__all__ = list(_EXPORTS)


def __getattr__(name: str) -> object:
    if name not in _EXPORTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_EXPORTS[name]}"), name)
