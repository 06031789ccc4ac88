"""From a closed mesh to one that lies flat in a texture."""

import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import trimesh
from scipy.ndimage import distance_transform_cdt
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from dreamdist3d.mesh.texture.charts import box_unwrap
from dreamdist3d.mesh.texture.raster import covered_texels, rasterise, shared_texels
from dreamdist3d.mesh.texture.settings import TextureSettings

_WORKER = Path(__file__).with_name("xatlas_worker.py")
# xatlas meets the wanted size only about; the result is scaled into it, and the padding with it.
_SLACK = 1.25
_SIDE = 10.0  # of a square with the area of the surface that xatlas is given, in its units
_MOST = 64  # triangles on others; more than this many are no slip of the unwrapper


@dataclass(frozen=True, eq=False)
class Unwrapped:
    """A mesh whose vertices are split at the borders of charts."""

    source: np.ndarray  # [V], the vertex of the unsplit mesh that each vertex came from
    faces: np.ndarray  # [F, 3], in the order of the mesh's faces
    uv: np.ndarray  # [V, 2] in [0, 1], v down
    warnings: tuple[str, ...] = ()


def unwrap(mesh: trimesh.Trimesh, settings: TextureSettings) -> Unwrapped:
    """Charts without overlap by xatlas; by box projection, with a warning, when xatlas fails or takes too long.

    Raises:
        UserError: the texture is too small for the mesh.
    """
    try:
        return _by_xatlas(mesh, settings)
    except subprocess.TimeoutExpired:
        reason = f"xatlas took longer than {settings.unwrap_seconds:g} s"
    except _Failed as error:
        reason = f"xatlas failed ({error})"
    warning = f"{reason}; box charts are used instead, which cost more seams."
    return Unwrapped(*box_unwrap(mesh, settings.size, settings.padding), (warning,))


def chart_labels(faces: np.ndarray) -> np.ndarray:
    """The chart of each face, [F]: charts share no vertex."""
    edges = np.concatenate([faces[:, :2], faces[:, 1:]])
    count = int(faces.max()) + 1
    graph = coo_matrix((np.ones(len(edges)), edges.T), shape=(count, count))
    labels = connected_components(graph, directed=False)[1][faces[:, 0]]
    return np.unique(labels, return_inverse=True)[1]


class _Failed(Exception):
    """xatlas gave no usable result; the reason, in a few words."""


def _by_xatlas(mesh: trimesh.Trimesh, settings: TextureSettings) -> Unwrapped:
    with tempfile.TemporaryDirectory(prefix="unwrap-") as folder:
        source, target = Path(folder, "mesh.npz"), Path(folder, "atlas.npz")
        np.savez(
            source,
            vertices=_sized(mesh).astype(np.float32),
            normals=mesh.vertex_normals.astype(np.float32),
            faces=mesh.faces.astype(np.uint32),
            size=settings.size,
            padding=int(np.ceil(settings.padding * _SLACK)),
        )
        command = [sys.executable, str(_WORKER), str(source), str(target)]
        # On a timeout `run` kills the process and waits for its end.
        done = subprocess.run(command, capture_output=True, text=True, timeout=settings.unwrap_seconds)
        if done.returncode or not target.exists():
            raise _Failed((done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1])
        with np.load(target) as result:
            return _checked(dict(result), mesh, settings)


def _sized(mesh: trimesh.Trimesh) -> np.ndarray:
    """The vertices about the origin, at a size that xatlas packs well.

    Its charts' areas meet absolute limits: of a surface of less than about 1 square unit it uses a hundredth of the
    texture, at this size and all above as much as it can.
    """
    vertices = mesh.vertices.view(np.ndarray)
    return (vertices - mesh.bounds.mean(axis=0)) * (_SIDE / max(float(np.sqrt(mesh.area)), 1e-30))


def _checked(result: dict[str, np.ndarray], mesh: trimesh.Trimesh, settings: TextureSettings) -> Unwrapped:
    index, faces, texels = result["index"].astype(np.int64), result["faces"].astype(np.int64), result["texels"]
    if int(result["atlases"]) != 1 or not np.isfinite(texels).all():
        raise _Failed("no single atlas")
    if not np.array_equal(index[faces], mesh.faces):
        raise _Failed("the triangles are not those of the mesh")
    # Half the padding stays free along the edges: textures that repeat must not bring the other side in.
    margin = settings.padding / 2 / settings.size
    uv = margin + (1 - 2 * margin) * texels.astype(np.float64) / max(settings.size, texels.max())
    apart = untangle(index, faces, uv, settings.size, settings.padding)
    if apart is None:
        raise _Failed("charts overlap")
    return Unwrapped(*apart)


def untangle(
    source: np.ndarray,  # [V], the vertex of the unsplit mesh
    faces: np.ndarray,  # [F, 3]
    uv: np.ndarray,  # [V, 2]
    size: int,
    padding: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """Make charts of their own of as few triangles as it takes to leave no texel covered twice.

    xatlas lets a chart touch itself now and then, by two or three triangles of thousands.

    Returns:
        The three arrays, with the vertices of moved triangles doubled; None when there are too many
        such triangles, or no room for them.
    """
    moved = _few_to_move(faces, uv, size)
    if len(moved) > _MOST:
        return None
    source, faces, uv = source.copy(), faces.copy(), uv.copy()
    for face in moved:
        corners = uv[faces[face]]
        others = np.delete(faces, face, axis=0)
        place = _room(covered_texels(uv, others, size).mask(size), np.ptp(corners, axis=0).max() * size, padding)
        if place is None:
            return None
        middle = (corners.min(axis=0) + corners.max(axis=0)) / 2
        source, uv = (
            np.concatenate([source, source[faces[face]]]),
            np.concatenate([uv, corners - middle + place / size]),
        )
        faces[face] = np.arange(len(uv) - 3, len(uv))
    return source, faces, uv


def _few_to_move(faces: np.ndarray, uv: np.ndarray, size: int) -> list[int]:
    """Greedily: again and again the triangle that shares the most texels."""
    hits = rasterise(uv, faces, size, inset=1e-4)
    moved: list[int] = []
    while len(moved) <= _MOST and (shared := shared_texels(hits)).any():
        moved.append(int(np.bincount(hits.face[shared]).argmax()))
        hits = hits.where(hits.face != moved[-1])
    return moved


def _room(taken: np.ndarray, extent: float, padding: int) -> np.ndarray | None:
    """The middle (x, y), in texels, of the widest gap, if something `extent` texels wide fits in with its padding."""
    free = distance_transform_cdt(np.pad(~taken, 1), metric="chessboard")[1:-1, 1:-1]
    row, column = np.unravel_index(free.argmax(), free.shape)
    return np.array([column + 0.5, row + 0.5]) if free[row, column] > extent / 2 + padding + 1 else None
