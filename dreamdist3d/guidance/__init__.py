"""Score distillation on renders.

Imports nothing heavy by itself: the configuration (`dreamdist3d.guidance.config`) is read without torch.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
