"""Stands in for utils3d, which TRELLIS imports for gaussians and renders."""
