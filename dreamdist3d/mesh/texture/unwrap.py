"""From a closed mesh to one that lies flat in a texture."""

import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import trimesh
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from dreamdist3d.mesh.texture.charts import box_unwrap
from dreamdist3d.mesh.texture.settings import TextureSettings
from dreamdist3d.mesh.texture.untangle import untangle

_WORKER = Path(__file__).with_name("xatlas_worker.py")
# xatlas meets the wanted size only about; the result is scaled into it, and the padding with it.
_SLACK = 1.25


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
            vertices=mesh.vertices.astype(np.float32),
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
