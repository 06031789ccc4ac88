"""Imported by threestudio's rasterizer, whose annotations name these two."""


class RasterizeGLContext:
    """Needs OpenGL."""


class RasterizeCudaContext:
    """Needs CUDA."""
