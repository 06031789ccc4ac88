"""Game assets: meshes with a texture, levels of detail and collision hulls, in the formats engines take."""

from dreamdist3d.mesh.package.export import PHASES, BakedAsset, ExportedAsset, bake_asset, export_asset, write_asset
from dreamdist3d.mesh.package.presets import PRESETS
from dreamdist3d.mesh.package.settings import PackageSettings
from dreamdist3d.mesh.package.source import AssetSource, file_source

__all__ = [
    "PHASES",
    "PRESETS",
    "AssetSource",
    "BakedAsset",
    "ExportedAsset",
    "PackageSettings",
    "bake_asset",
    "export_asset",
    "file_source",
    "write_asset",
]
