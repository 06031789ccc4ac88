"""Original checkpoints (MVDream, Stable Diffusion 1.x and 2.x) as stock diffusers parts.

Imported lazily: most models are folders that need no conversion.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
