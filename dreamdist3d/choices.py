"""Words that the command line, configurations and the library choose among; each set is written here alone.

Importing this imports nothing else: `--help` shows the words without what they stand for.
"""

from typing import Literal

Covariance = Literal["low_rank", "diagonal"]
"""The Gaussian of a distribution: the prompts' full covariance, or the paper's diagonal."""

Objective = Literal["coupled", "paper"]
"""What learning minimises: each draw with the picture it belongs to, or, as published, with pictures of any kind."""

Device = Literal["auto", "cpu", "cuda"]

PresetName = Literal["unity", "unreal", "godot", "web"]
"""Whose conventions a packaged asset follows."""

MeshFormat = Literal["glb", "obj", "ply", "usdz"]
"""Files that a package can be written as."""

Renderer = Literal["embree", "pytorch3d"]
"""What meshes are rendered with."""
