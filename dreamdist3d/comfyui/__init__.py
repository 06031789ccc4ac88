"""What nodes for ComfyUI need and ComfyUI does not have to be there for.

The nodes themselves, the only place that ComfyUI's modules are imported in, are the folder `comfyui_ext`.
"""
