"""What prompt distributions are compared with: rivals that learn from the same pictures, in one harness.

Each leaves prompts that `sample`, `dataset` and lifts draw from, and, where it changes the diffusion model, a backbone.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
