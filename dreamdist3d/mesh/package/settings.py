"""What a user may set about packages."""

from dataclasses import dataclass, field
from typing import get_args

from dreamdist3d.choices import MeshFormat, PresetName, Renderer
from dreamdist3d.errors import UserError
from dreamdist3d.mesh.package.presets import PRESETS
from dreamdist3d.mesh.texture import TextureSettings

FORMATS = get_args(MeshFormat)


@dataclass(frozen=True)
class PackageSettings:
    """How a mesh becomes a game asset.

    Args:
        preset: whose conventions the package follows.
        height_m: metres from base to top; None takes the source's own units for metres.
        formats: the files to write; empty takes the preset's.
        triangles: of LOD0; every further level has half as many.
        lods: how many levels, LOD0 included.
        hulls: the most convex collision hulls; 0 writes none.
        crease_deg: edges whose triangles meet at more than this are hard; None takes the source's own normals, and 30
            where it has none.
        hull_seconds: how long the convex decomposition may take before one hull around all is used instead.
        renderer: what the preview and the turntable are rendered with.
        texture: the texture that all levels share.

    Raises:
        UserError: a value outside its range; the message names the key.
    """

    preset: PresetName
    height_m: float | None = None
    formats: tuple[MeshFormat, ...] = ()
    triangles: int = 20_000
    lods: int = 4
    hulls: int = 16
    hull_seconds: float = 60.0
    crease_deg: float | None = None
    renderer: Renderer = "embree"
    texture: TextureSettings = field(default_factory=TextureSettings)

    def __post_init__(self) -> None:
        _check(self.preset in PRESETS, "preset", self.preset, f"one of {', '.join(PRESETS)}")
        _check(self.height_m is None or 0 < self.height_m < 1e6, "height_m", self.height_m, "between 0 and a million")
        _check(set(self.formats) <= set(FORMATS), "formats", list(self.formats), f"some of {', '.join(FORMATS)}")
        _check(self.triangles >= 100, "triangles", self.triangles, "at least 100")
        _check(1 <= self.lods <= 8, "lods", self.lods, "between 1 and 8")
        _check(0 <= self.hulls <= 64, "hulls", self.hulls, "between 0 and 64")
        in_range = self.crease_deg is None or 0 <= self.crease_deg <= 180
        _check(in_range, "crease_deg", self.crease_deg, "between 0 and 180")
        _check(self.hull_seconds > 0, "hull_seconds", self.hull_seconds, "above 0")

    @property
    def written(self) -> tuple[MeshFormat, ...]:
        """The formats to write: each once, the preset's where none are given."""
        return tuple(dict.fromkeys(self.formats or PRESETS[self.preset].formats))

    @property
    def ratios(self) -> list[float]:
        """Triangles of LOD1 and on, relative to LOD0."""
        return [0.5**level for level in range(1, self.lods)]


def _check(valid: bool, key: str, value: object, wanted: str) -> None:
    if not valid:
        raise UserError(f"package settings: {key}={value} does not work; it must be {wanted}.")
