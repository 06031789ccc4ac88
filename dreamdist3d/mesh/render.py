"""Pictures of any painted mesh from given cameras."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import trimesh

from dreamdist3d.choices import Renderer
from dreamdist3d.lift.cameras import Cameras, rays
from dreamdist3d.mesh.hits import Hits, find_hits, hits_behind
from dreamdist3d.mesh.painted import Painted, of_each, rgba_on

# Mostly ambient: who looks at the picture should see shape and colour, not where a lamp stood.
_AMBIENT, _HEADLIGHT = 0.85, 0.15
# A lamp over the viewer's left shoulder under a bright sky.
_LAMP, _SKY, _GROUND = 0.38, 0.66, 0.45
# Surfaces seen through one another are followed until so little passes, or there are so many.
_OPAQUE, _LAYERS = 1.0 / 256.0, 16


@dataclass(frozen=True)
class Seen:
    """What lies under the N pixels that see the mesh."""

    points: np.ndarray  # [N, 3]
    directions: np.ndarray  # [N, 3], unit, from the camera
    face_normals: np.ndarray  # [N, 3], unit
    normals: np.ndarray  # [N, 3], unit: interpolated where the mesh has normals


Light = Callable[[Seen], np.ndarray]
"""How brightly each of N places is lit: [N, 1] or [N, 3], which its sRGB colour is multiplied by."""


@dataclass(frozen=True)
class Pictures:
    """B pictures of `size` pixels."""

    rgb: np.ndarray  # [B, size, size, 3] uint8 sRGB, over the background
    alpha: np.ndarray  # [B, size, size] in [0, 1], the share of each pixel that the mesh covers


def headlight(seen: Seen) -> np.ndarray:
    """A little more light where the surface faces the camera."""
    # The absolute value keeps meshes with inside-out triangles, which other tools write, visible.
    facing = np.abs(np.einsum("ij,ij->i", seen.face_normals, seen.directions))
    return (_AMBIENT + _HEADLIGHT * facing)[:, None]


def studio(seen: Seen) -> np.ndarray:
    """What a photographer would do: a lamp high on the left of the camera, the sky brighter than the ground."""
    toward = -seen.directions
    left = np.cross(seen.directions, [0.0, 0.0, 1.0])
    lamp = toward + [0.0, 0.0, 0.9] - 0.6 * left
    lamp /= np.linalg.norm(lamp, axis=1, keepdims=True)
    facing = np.einsum("ij,ij->i", seen.normals, lamp).clip(0.0)
    sky = _GROUND + (_SKY - _GROUND) * (seen.normals[:, 2] + 1.0) / 2.0
    return (sky + _LAMP * facing)[:, None]


def render(
    parts: Sequence[Painted],
    cameras: Cameras,
    size: int,
    light: Light = headlight,
    background: np.ndarray | float = 1.0,  # broadcast to [B, supersample * size, supersample * size, 3], sRGB in [0, 1]
    supersample: int = 1,
    renderer: Renderer = "embree",
) -> Pictures:
    """Square pictures of the parts together, supersample^2 rays a pixel. Cameras and parts share one world.

    One camera after the other: memory does not grow with their number.

    Raises:
        UserError: the renderer is not installed.
    """
    fine, views = size * supersample, len(cameras.c2w)
    whole, clear = joined(parts), any(part.material.alpha_mode != "OPAQUE" for part in parts)
    behind = np.broadcast_to(background, (views, fine, fine, 3))
    rgb, alpha = np.empty((views, size, size, 3), np.uint8), np.empty((views, size, size))
    for view in range(views):
        camera, image = cameras.at([view]), behind[view].reshape(-1, 3).astype(np.float64)
        passed, hits = np.ones(len(image)), find_hits(whole, camera, fine, renderer)
        shown = np.zeros_like(image)
        for _ in range(_LAYERS if clear else 1):
            rgba = _visible(parts, hits) if clear else rgba_on(parts, hits.triangle, hits.weights)
            color = (rgba[:, :3] * light(_seen(parts, whole, hits, camera, fine))).clip(0.0, 1.0)
            shown[hits.pixel] += (passed[hits.pixel] * rgba[:, 3])[:, None] * color
            passed[hits.pixel] *= 1.0 - rgba[:, 3]
            more = passed[hits.pixel] > _OPAQUE
            if not more.any():
                break
            hits = hits_behind(whole, camera, fine, hits.where(more))
        image, cover = shown + passed[:, None] * image, 1.0 - passed
        rgb[view] = np.round(255.0 * _binned(image.reshape(fine, fine, 3), supersample))
        alpha[view] = _binned(cover.reshape(fine, fine), supersample)
    return Pictures(rgb, alpha)


def _visible(parts: Sequence[Painted], hits: Hits) -> np.ndarray:
    """Colours and how much of what lies behind they hide, [N, 4]: masks hide all or nothing."""
    rgba = rgba_on(parts, hits.triangle, hits.weights)
    for part, mine, _ in of_each(parts, hits.triangle):
        if part.material.alpha_mode == "MASK":
            rgba[mine, 3] = rgba[mine, 3] >= part.material.alpha_cutoff
    return rgba


def _binned(image: np.ndarray, factor: int) -> np.ndarray:
    """The mean of every block of factor x factor pixels of [H, W, ...]."""
    blocks = [image[y::factor, x::factor] for y in range(factor) for x in range(factor)]
    return np.sum(blocks, axis=0) / factor**2


def framed(parts: Sequence[Painted], radius: float) -> list[Painted]:
    """The parts together centred on their bounding box and scaled to a bounding sphere.

    Raises:
        ValueError: all vertices lie in one point.
    """
    together = np.concatenate([part.vertices for part in parts])
    middle = (together.min(axis=0) + together.max(axis=0)) / 2
    reach = np.linalg.norm(together - middle, axis=1).max()
    if not reach > 0:
        raise ValueError("a mesh without extent cannot be framed")
    return [part.moved((part.vertices - middle) * (radius / reach), part.normals) for part in parts]


def joined(parts: Sequence[Painted]) -> trimesh.Trimesh:
    """The parts' triangles as one mesh without paint, in order."""
    starts = np.cumsum([0] + [len(part.vertices) for part in parts[:-1]])
    faces = np.concatenate([part.faces + start for part, start in zip(parts, starts, strict=True)])
    return trimesh.Trimesh(np.concatenate([part.vertices for part in parts]), faces, process=False)


def _seen(parts: Sequence[Painted], whole: trimesh.Trimesh, hits: Hits, cameras: Cameras, size: int) -> Seen:
    face_normals = whole.face_normals[hits.triangle]
    normals = face_normals.copy()
    for part, mine, own in of_each(parts, hits.triangle):
        if part.normals is not None:
            smooth = part.interpolated(part.normals, own, hits.weights[mine])
            length = np.linalg.norm(smooth, axis=1, keepdims=True)
            normals[mine] = np.where(length > 1e-6, smooth / np.maximum(length, 1e-6), normals[mine])
    directions = rays(cameras, size, size)[1].reshape(-1, 3).numpy()[hits.pixel]
    return Seen(hits.points(whole), directions, face_normals, normals)
