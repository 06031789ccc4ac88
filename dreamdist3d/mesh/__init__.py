"""From a density field to a coloured triangle mesh and a GLB file."""

from dreamdist3d.mesh.extract import extract_mesh
from dreamdist3d.mesh.read import read_mesh
from dreamdist3d.mesh.settings import MeshSettings
from dreamdist3d.mesh.silhouettes import Silhouettes
from dreamdist3d.mesh.write import write_glb

__all__ = ["MeshSettings", "Silhouettes", "extract_mesh", "read_mesh", "write_glb"]
