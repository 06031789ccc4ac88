"""Textures: UV charts, and albedo, normal and occlusion maps baked into them."""

from dreamdist3d.mesh.texture.bake import texture_mesh
from dreamdist3d.mesh.texture.levels import simplified_levels
from dreamdist3d.mesh.texture.settings import TextureSettings
from dreamdist3d.mesh.texture.sources import ColorFunction, field_colors, mesh_colors
from dreamdist3d.mesh.texture.textured import TexturedMesh, TextureMaps

__all__ = [
    "ColorFunction",
    "TextureMaps",
    "TextureSettings",
    "TexturedMesh",
    "field_colors",
    "mesh_colors",
    "simplified_levels",
    "texture_mesh",
]
