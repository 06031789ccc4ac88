"""Instant distributions: one network that learned what many experts learned, and needs a few pictures and one pass.

After SuTI (Chen et al., NeurIPS 2023). docs/instant.md says what it can and cannot do, and how one is trained.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
