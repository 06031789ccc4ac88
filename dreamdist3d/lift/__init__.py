"""From a guidance to a 3D field: cameras, field, volume rendering, the optimisation loop.

Imports nothing heavy by itself: the configuration (`dreamdist3d.lift.config`) is read without torch.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
