"""From a condition to a field: the lifts by name, of which distillation is one and views first another.

Imports nothing heavy by itself: the configuration (`dreamdist3d.roads.config`) is read without torch.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
