"""Stands in for open3d, whose meshes TRELLIS names in a signature."""

from types import SimpleNamespace

geometry = SimpleNamespace(TriangleMesh=object)
