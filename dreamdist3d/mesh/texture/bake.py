"""The road from a mesh to one with a texture."""

import numpy as np
import trimesh
from scipy.ndimage import maximum_filter, minimum_filter

from dreamdist3d.mesh.colors import linear_to_srgb, srgb_to_linear
from dreamdist3d.mesh.nearest import nearest_on
from dreamdist3d.mesh.texture.embree import UnitScene
from dreamdist3d.mesh.texture.occlusion import bake_occlusion
from dreamdist3d.mesh.texture.raster import Layout, Texels, covered_texels, dilate, unit, with_rim
from dreamdist3d.mesh.texture.settings import TextureSettings
from dreamdist3d.mesh.texture.sources import ColorFunction
from dreamdist3d.mesh.texture.tangents import tangent_space, vertex_tangents
from dreamdist3d.mesh.texture.textured import TexturedMesh, TextureMaps
from dreamdist3d.mesh.texture.unwrap import unwrap

_DEFAULTS = TextureSettings()
# Bilinear reads inside a chart touch texels up to sqrt(2) outside it.
_RIM = 1.5
_CONTRAST = 6.0 / 255.0  # where neighbours differ by more, one sample is too few
_REACH = 5e-3  # how far rays look, in bounding box diagonals


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
    albedo = _image(bake_albedo(texels, points, normals, layout, color_at, settings.supersample), texels, layout.size)
    bumps = occlusion = None
    if settings.normal_map and dense is not None:
        bumps = _image(_normal_map(normals, smooth, texels, layout), texels, layout.size)
    if settings.occlusion:
        occlusion = _image(bake_occlusion(texels, points, normals, depicted, settings.size), texels, layout.size)
    return TextureMaps(albedo, bumps, occlusion, mask)


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


def depicted_places(
    surface: trimesh.Trimesh,
    points: np.ndarray,  # [N, 3]
    normals: np.ndarray,  # [N, 3], unit
) -> tuple[np.ndarray, np.ndarray]:
    """The places on a surface in full detail, [N, 3], and its smooth unit normals there, [N, 3].

    They lie straight over or under the points, along `normals`, as texture bakers have it; where a ray meets
    nothing close by that faces the same way, the nearest place is taken. Where that faces away from `normals` too, as
    behind a plate thinner than the simplification is exact, point and normal stay.
    """
    face, weights = _along(surface, points, normals)
    lost = (face < 0).nonzero()[0]
    if len(lost):
        found = nearest_on(points[lost], surface.vertices, surface.faces)
        face[lost], weights[lost] = found.face, found.weights
    corners = surface.faces.view(np.ndarray)[face]
    places = np.einsum("nk,nkj->nj", weights, surface.vertices.view(np.ndarray)[corners])
    smooth = unit(np.einsum("nk,nkj->nj", weights, surface.vertex_normals[corners]))
    facing = np.einsum("nj,nj->n", surface.face_normals[face], normals) > 0
    kept = (facing & smooth.any(axis=1))[:, None]
    return np.where(kept, places, points), np.where(kept, smooth, normals)


def _along(surface: trimesh.Trimesh, points: np.ndarray, normals: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What rays from the points, forth and back, meet first: faces [N], -1 for nothing, and weights [N, 3]."""
    scene = UnitScene(surface)
    origins, nearest = scene.place(points), np.full(len(points), _REACH, dtype=np.float32)
    face, weights = np.full(len(points), -1), np.zeros((len(points), 3))
    for sign in (1.0, -1.0):
        met = scene.first(origins, (sign * normals).astype(np.float32), nearest)
        rows = (met.face >= 0).nonzero()[0]
        rows = rows[np.einsum("nj,nj->n", surface.face_normals[met.face[rows]], normals[rows]) > 0]
        face[rows], nearest[rows] = met.face[rows], met.distance[rows]
        weights[rows] = met.weights[rows]
    return face, weights


def bake_albedo(
    texels: Texels,
    points: np.ndarray,  # [N, 3], where the depicted surface is at the texels' centres
    normals: np.ndarray,  # [N, 3], unit, its own there
    layout: Layout,
    color_at: ColorFunction,
    supersample: int,
) -> np.ndarray:
    """sRGB uint8 [N, 3] or, where the source has opacity, [N, 4] for the texels.

    One sample each; where neighbours differ, supersample^2 of them are averaged in linear light.
    Samples past the border of a chart land on the surface beyond, so both sides of a seam agree.
    """

    def colors(rows: np.ndarray, offset: tuple[float, float]) -> np.ndarray:
        # Less than a texel away the surface is as good as flat.
        step = layout.steps(texels.where(rows), offset)
        across = step - normals[rows] * np.einsum("nj,nj->n", step, normals[rows])[:, None]
        return color_at(points[rows] + across, normals[rows])

    albedo = color_at(points, normals)
    if supersample > 1:
        rows = _uneven(albedo, texels, layout.size).nonzero()[0]
        grid = (np.arange(supersample) + 0.5) / supersample - 0.5
        light = np.mean([_linear(colors(rows, (x, y))) for x in grid for y in grid], axis=0)
        albedo[rows] = np.concatenate([linear_to_srgb(light[:, :3]), light[:, 3:]], axis=1)
    return np.round(255.0 * albedo.clip(0.0, 1.0)).astype(np.uint8)


def _linear(colors: np.ndarray) -> np.ndarray:
    """sRGB [N, 3 or 4] in linear light; opacity is linear already."""
    return np.concatenate([srgb_to_linear(colors[:, :3]), colors[:, 3:]], axis=1)


def _uneven(albedo: np.ndarray, texels: Texels, size: int) -> np.ndarray:
    """Which texels differ from their neighbours in the texture: bool [N]."""
    image = np.zeros((size * size, albedo.shape[1]), dtype=np.float32)
    image[texels.index] = albedo
    image = dilate(image.reshape(size, size, -1), texels.mask(size))
    spread = maximum_filter(image, size=(3, 3, 1)) - minimum_filter(image, size=(3, 3, 1))
    return spread.max(axis=2).reshape(-1)[texels.index] > _CONTRAST
