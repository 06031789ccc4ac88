"""From reference images to a distribution over prompts, and from each draw a new 3D asset.

The names in `__init__.pyi` are loaded when they are first touched, so that importing the package imports no torch.
"""

from pathlib import Path as _Path

import lazy_loader

_root = _Path(__file__).resolve().parents[1]
if all((_root / name).is_dir() for name in ("eval", "configs", "threestudio_ext")):
    # A checkout, whose other folders are parts of this package too. An editable install of another checkout maps them
    # to that one's folders; found here first, the code of two checkouts never mixes.
    __path__.append(str(_root))

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
