"""The assistant (CAFE, Zhou et al. 2023): a picture or a distribution and a sentence in; pictures, edits, words out."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
