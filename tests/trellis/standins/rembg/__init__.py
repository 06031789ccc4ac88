"""Stands in for rembg, which TRELLIS imports for its pipelines of pictures."""
