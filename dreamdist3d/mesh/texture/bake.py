"""The road from a mesh to one with a texture."""

import numpy as np
import trimesh

from dreamdist3d.mesh.texture.albedo import bake_albedo
from dreamdist3d.mesh.texture.dilate import dilate
from dreamdist3d.mesh.texture.layout import Layout, unit
from dreamdist3d.mesh.texture.occlusion import bake_occlusion
from dreamdist3d.mesh.texture.places import depicted_places
from dreamdist3d.mesh.texture.raster import Texels, covered_texels, with_rim
from dreamdist3d.mesh.texture.settings import TextureSettings
from dreamdist3d.mesh.texture.sources import ColorFunction
from dreamdist3d.mesh.texture.tangents import tangent_space, vertex_tangents
from dreamdist3d.mesh.texture.textured import TexturedMesh, TextureMaps
from dreamdist3d.mesh.texture.unwrap import unwrap

_DEFAULTS = TextureSettings()
# Bilinear reads inside a chart touch texels up to sqrt(2) outside it.
_RIM = 1.5


def texture_mesh(
    mesh: trimesh.Trimesh,
    color_at: ColorFunction,
    settings: TextureSettings = _DEFAULTS,
    dense: trimesh.Trimesh | None = None,
) -> TexturedMesh:
    """Unwrap a mesh and bake its maps.

    Args:
        mesh: what is to be textured, vertices welded, normals outward.
        color_at: the colours, asked for at points of the dense surface.
        settings: size, maps, limits.
        dense: the surface before simplification, which the texture depicts; without it the mesh is
            its own, and there is no normal map.

    Raises:
        UserError: the texture is too small for the mesh; what `color_at` raises.
    """
    flat = unwrap(mesh, settings)
    vertices, normals = mesh.vertices.view(np.ndarray)[flat.source], mesh.vertex_normals[flat.source]
    layout = Layout(vertices, flat.faces, normals, flat.uv, settings.size)
    covered = covered_texels(layout.uv, layout.faces, settings.size)
    texels = with_rim(covered, layout.uv, layout.faces, settings.size, _RIM)
    maps = _bake(texels, covered.mask(settings.size), layout, color_at, settings, mesh, dense)
    return TexturedMesh(layout.vertices, layout.faces, layout.normals, layout.uv, maps, flat.warnings)


def _bake(
    texels: Texels,
    mask: np.ndarray,
    layout: Layout,
    color_at: ColorFunction,
    settings: TextureSettings,
    mesh: trimesh.Trimesh,
    dense: trimesh.Trimesh | None,
) -> TextureMaps:
    depicted = mesh if dense is None else dense
    smooth = texels.interpolate(layout.normals, layout.faces)  # not normalised, as in a shader
    points, normals = depicted_places(depicted, layout.points(texels), unit(smooth))
    baked = [bake_albedo(texels, points, normals, layout, color_at, settings.supersample), None, None]
    if settings.normal_map and dense is not None:
        baked[1] = _normal_map(normals, smooth, texels, layout)
    if settings.occlusion:
        baked[2] = bake_occlusion(texels, points, normals, depicted, settings.size)
    images = [None if values is None else _image(values, texels, layout.size) for values in baked]
    return TextureMaps(*images, mask)


def _normal_map(normals: np.ndarray, smooth: np.ndarray, texels: Texels, layout: Layout) -> np.ndarray:
    """uint8 [N, 3]: the dense surface's normals in the mesh's tangent frames, green up."""
    tangents = vertex_tangents(layout.vertices, layout.faces, layout.normals, layout.uv)
    local = tangent_space(normals, smooth, texels.interpolate(tangents, layout.faces))
    return np.round(127.5 * local + 127.5).astype(np.uint8)


def _image(values: np.ndarray, texels: Texels, size: int) -> np.ndarray:
    """uint8 [N] or [N, C] at the texels -> [size, size] or [size, size, C], filled to the corners."""
    image = np.zeros((size * size, *values.shape[1:]), dtype=np.uint8)
    image[texels.index] = values
    return dilate(image.reshape(size, size, *values.shape[1:]), texels.mask(size))
