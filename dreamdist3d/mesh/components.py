"""The connected parts of a mesh."""

import numpy as np
import trimesh
from trimesh.graph import connected_component_labels


def component_labels(mesh: trimesh.Trimesh) -> np.ndarray:
    """The part of each face, [F] from 0: faces that share an edge are of one part."""
    return connected_component_labels(mesh.face_adjacency, node_count=len(mesh.faces))


def signed_volumes(mesh: trimesh.Trimesh, labels: np.ndarray) -> np.ndarray:
    """The volume of each part [P]; below 0 when it faces inward. Of an open part, as seen from the mesh's middle."""
    corners = mesh.triangles - mesh.bounds.mean(axis=0)  # [F, 3, 3]
    signed = np.einsum("fi,fi->f", corners[:, 0], np.cross(corners[:, 1], corners[:, 2])) / 6.0
    return np.bincount(labels, weights=signed)
