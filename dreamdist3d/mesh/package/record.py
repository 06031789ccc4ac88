"""`asset.json`: what a package holds, where it comes from and how good it is."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from dreamdist3d.mesh.package.parts import Package
from dreamdist3d.mesh.package.settings import PackageSettings
from dreamdist3d.mesh.package.source import AssetSource
from dreamdist3d.mesh.quality import MeshQuality
from dreamdist3d.version import __version__

SCHEMA_VERSION = 1
RECORD_NAME = "asset.json"


def asset_record(
    source: AssetSource,
    package: Package,
    quality: MeshQuality,
    settings: PackageSettings,
    files: Sequence[str],
    warnings: Sequence[str],
) -> dict[str, Any]:
    """The content of asset.json. Lengths are metres of the files; `quality` tells of LOD0, closed at its seams."""
    vertices = package.levels[0].vertices
    return {
        "version": SCHEMA_VERSION,
        "dreamdist3d": __version__,
        "name": package.name,
        "preset": settings.preset,
        "axes": {"up": "+Y", "front": "+Z", "unit": "metre", "origin": "base centre"},
        "bounds": [vertices.min(axis=0).tolist(), vertices.max(axis=0).tolist()],
        "height_m": float(np.ptp(vertices[:, 1])),
        "source": dict(source.origin),
        "licences": [terms.to_dict() for terms in source.licences],
        "levels": [
            {"name": level.name, "triangles": len(level.faces), "vertices": len(level.vertices)}
            for level in package.levels
        ],
        "texture": {
            "size": len(package.maps.albedo),
            "maps": list(package.images),
            "used": round(float(package.maps.mask.mean()), 4),  # the share of texels that lie in a chart
        },
        "materials": [asdict(material) for material in package.materials],
        "collision": [{"name": hull.name, "triangles": len(hull.faces)} for hull in package.hulls],
        "quality": asdict(quality),
        "not_followed": list(source.not_followed),
        "warnings": list(warnings),
        "files": sorted(files),
    }
