"""Where diffusion weights come from, as one frozen `Backbone`.

Imports nothing heavy by itself: the catalogue of weights is read without torch.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
