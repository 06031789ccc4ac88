"""Nodes for ComfyUI: prompt distributions, their draws as ordinary conditioning.

Installed by `dreamdist3d comfyui install PATH`. Adapters only: all that they do is in the package dreamdist3d.
"""

from .nodes import NODE_CLASS_MAPPINGS, NODE_DISPLAY_NAME_MAPPINGS

__all__ = ["NODE_CLASS_MAPPINGS", "NODE_DISPLAY_NAME_MAPPINGS"]
