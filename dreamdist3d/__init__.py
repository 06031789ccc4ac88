"""From reference images to a distribution over prompts, and from each draw a new 3D asset.

The names in `__init__.pyi` are loaded when they are first touched, so that importing the package imports no torch.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
