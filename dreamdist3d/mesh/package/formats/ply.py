"""Packages as PLY files."""

import trimesh
from trimesh.exchange.ply import export_ply

from dreamdist3d.mesh.colors import color_vertices
from dreamdist3d.mesh.package.parts import Package
from dreamdist3d.mesh.painted import Painted


def ply_files(package: Package) -> dict[str, bytes]:
    """LOD0 with the texture's sRGB colours at its vertices: the format knows no texture."""
    first = package.levels[0]
    painted = Painted(first.vertices, first.faces, uv=first.uv, texture=package.maps.albedo[..., :3])
    mesh = trimesh.Trimesh(first.vertices, first.faces, vertex_normals=first.normals, process=False)
    color_vertices(mesh, painted.vertex_colors())
    return {f"{package.name}.ply": export_ply(mesh, vertex_normal=True)}
