"""Stands in for plyfile, which TRELLIS imports for gaussians."""

PlyData = PlyElement = object
