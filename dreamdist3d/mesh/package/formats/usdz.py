"""Packages as USDZ files, by Pixar's usd-core."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dreamdist3d.errors import UserError
from dreamdist3d.mesh.package.formats.glb import ROUGHNESS
from dreamdist3d.mesh.package.parts import Package, Part
from dreamdist3d.mesh.painted import Material

try:
    from pxr import Gf, Sdf, Tf, Usd, UsdGeom, UsdShade, UsdUtils, Vt
except ImportError as error:
    raise UserError("USDZ files need usd-core: pip install 'dreamdist3d[usd]', or leave usdz out.") from error


def usdz_files(package: Package) -> dict[str, bytes]:
    """LOD0 with its material (UsdPreviewSurface), +Y up, in metres."""
    with tempfile.TemporaryDirectory(prefix="usdz-") as folder:
        images = package.images
        for kind, image in images.items():
            Path(folder, package.image_name(kind)).write_bytes(image)
        path = Path(folder, f"{package.name}.usdc")
        stage = Usd.Stage.CreateNew(str(path))
        UsdGeom.SetStageUpAxis(stage, UsdGeom.Tokens.y)
        UsdGeom.SetStageMetersPerUnit(stage, 1.0)
        root = UsdGeom.Xform.Define(stage, f"/{Tf.MakeValidIdentifier(package.name)}")
        stage.SetDefaultPrim(root.GetPrim())
        mesh = _mesh(stage, root.GetPath(), package.levels[0])
        mesh.CreateDoubleSidedAttr(any(kind.double_sided for kind in package.materials))
        files = {kind: f"./{package.image_name(kind)}" for kind in images}
        material = _material(stage, root.GetPath(), files, package.materials)
        UsdShade.MaterialBindingAPI.Apply(mesh.GetPrim()).Bind(material)
        stage.Save()
        target = path.with_suffix(".usdz")
        UsdUtils.CreateNewUsdzPackage(Sdf.AssetPath(str(path)), str(target))
        return {target.name: target.read_bytes()}


def _mesh(stage: Any, root: Any, part: Part) -> Any:
    assert part.normals is not None and part.uv is not None  # only hulls have none
    mesh = UsdGeom.Mesh.Define(stage, root.AppendChild("mesh"))
    vertices = part.vertices.astype(np.float32)
    mesh.CreatePointsAttr(Vt.Vec3fArray.FromNumpy(vertices))
    mesh.CreateExtentAttr(Vt.Vec3fArray.FromNumpy(np.stack([vertices.min(axis=0), vertices.max(axis=0)])))
    mesh.CreateFaceVertexCountsAttr(Vt.IntArray(len(part.faces), 3))
    mesh.CreateFaceVertexIndicesAttr(Vt.IntArray.FromNumpy(part.faces.astype(np.int32).ravel()))
    mesh.CreateNormalsAttr(Vt.Vec3fArray.FromNumpy(part.normals.astype(np.float32)))
    mesh.SetNormalsInterpolation(UsdGeom.Tokens.vertex)
    mesh.CreateSubdivisionSchemeAttr(UsdGeom.Tokens.none)
    place = UsdGeom.PrimvarsAPI(mesh).CreatePrimvar("st", Sdf.ValueTypeNames.TexCoord2fArray, UsdGeom.Tokens.vertex)
    uv = part.uv * [1.0, -1.0] + [0.0, 1.0]  # USD counts from the bottom left
    place.Set(Vt.Vec2fArray.FromNumpy(uv.astype(np.float32)))
    return mesh


def _material(stage: Any, root: Any, images: dict[str, str], materials: Sequence[Material]) -> Any:
    """One for the whole mesh: where it is opaque, its texture says so."""
    material = UsdShade.Material.Define(stage, root.AppendChild("baked"))
    reader = _shader(stage, material, "uv", "UsdPrimvarReader_float2")
    reader.CreateInput("varname", Sdf.ValueTypeNames.String).Set("st")
    place = reader.CreateOutput("result", Sdf.ValueTypeNames.Float2)
    surface = _shader(stage, material, "surface", "UsdPreviewSurface")
    surface.CreateInput("roughness", Sdf.ValueTypeNames.Float).Set(ROUGHNESS)
    surface.CreateInput("metallic", Sdf.ValueTypeNames.Float).Set(0.0)
    wanted = {"albedo": ("diffuseColor", "rgb", "Color3f", "Float3"), "normal": ("normal", "rgb", "Normal3f", "Float3")}
    wanted["occlusion"] = ("occlusion", "r", "Float", "Float")
    for kind, file in images.items():
        slot, channels, kind_in, kind_out = wanted[kind]
        texture = _texture(stage, material, kind, file, place)
        value = texture.CreateOutput(channels, getattr(Sdf.ValueTypeNames, kind_out))
        surface.CreateInput(slot, getattr(Sdf.ValueTypeNames, kind_in)).ConnectToSource(value)
        if kind == "albedo" and (clear := [m for m in materials if m.alpha_mode != "OPAQUE"]):
            opacity = texture.CreateOutput("a", Sdf.ValueTypeNames.Float)
            surface.CreateInput("opacity", Sdf.ValueTypeNames.Float).ConnectToSource(opacity)
            if all(m.alpha_mode == "MASK" for m in clear):
                cutoff = min(m.alpha_cutoff for m in clear)
                surface.CreateInput("opacityThreshold", Sdf.ValueTypeNames.Float).Set(cutoff)
    material.CreateSurfaceOutput().ConnectToSource(surface.CreateOutput("surface", Sdf.ValueTypeNames.Token))
    return material


def _texture(stage: Any, material: Any, kind: str, file: str, place: Any) -> Any:
    texture = _shader(stage, material, kind, "UsdUVTexture")
    texture.CreateInput("file", Sdf.ValueTypeNames.Asset).Set(Sdf.AssetPath(file))
    texture.CreateInput("st", Sdf.ValueTypeNames.Float2).ConnectToSource(place)
    space = "sRGB" if kind == "albedo" else "raw"
    texture.CreateInput("sourceColorSpace", Sdf.ValueTypeNames.Token).Set(space)
    for side in ("wrapS", "wrapT"):
        texture.CreateInput(side, Sdf.ValueTypeNames.Token).Set("clamp")
    if kind == "normal":  # from [0, 1] to [-1, 1]
        texture.CreateInput("scale", Sdf.ValueTypeNames.Float4).Set(Gf.Vec4f(2, 2, 2, 1))
        texture.CreateInput("bias", Sdf.ValueTypeNames.Float4).Set(Gf.Vec4f(-1, -1, -1, 0))
    return texture


def _shader(stage: Any, material: Any, name: str, kind: str) -> Any:
    shader = UsdShade.Shader.Define(stage, material.GetPath().AppendChild(name))
    shader.CreateIdAttr(kind)
    return shader
