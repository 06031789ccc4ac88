"""Prompt distributions: learn them from images, keep them in a file, draw from them.

Imports nothing heavy by itself: a distribution is opened and drawn from without diffusers or transformers.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
