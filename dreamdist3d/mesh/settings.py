"""What a user may set about mesh extraction."""

from dataclasses import dataclass

from dreamdist3d.errors import UserError


@dataclass(frozen=True)
class MeshSettings:
    """How a field becomes a mesh.

    Densities are per world unit, lengths in voxels of the extraction grid.

    Args:
        resolution: voxels along each edge of the cube.
        threshold: the density of the surface when there are no silhouettes to choose it by.
        thresholds: the candidates that silhouettes choose from.
        search_resolution: voxels along each edge while candidates are compared.
        smooth_voxels: standard deviation of the Gaussian over the occupancy; 0 turns it off.
        seal_fraction: hollows behind openings narrower than this fraction of the cube's edge are filled; 0 fills
            only those without any.
        floater_fraction: a connected part stays if it has at least this fraction of the largest part's volume.
        taubin_iterations: steps of Taubin's shrink-free smoothing; 0 turns it off.
        max_triangles: the mesh is simplified down to this many.

    Raises:
        UserError: a value outside its range; the message names the key.
    """

    resolution: int = 96
    threshold: float = 10.0
    thresholds: tuple[float, ...] = (2.0, 3.0, 5.0, 8.0, 10.0, 15.0, 20.0, 30.0)
    search_resolution: int = 64
    smooth_voxels: float = 0.6
    seal_fraction: float = 0.03
    floater_fraction: float = 0.03
    taubin_iterations: int = 10
    max_triangles: int = 20_000

    def __post_init__(self) -> None:
        for key in ("resolution", "search_resolution"):
            _check(8 <= getattr(self, key) <= 1024, key, getattr(self, key), "between 8 and 1024")
        _check(self.threshold > 0, "threshold", self.threshold, "above 0")
        _check(min(self.thresholds, default=0) > 0, "thresholds", self.thresholds, "a list of numbers above 0")
        _check(0 <= self.smooth_voxels <= 4, "smooth_voxels", self.smooth_voxels, "between 0 and 4")
        _check(0 <= self.seal_fraction <= 0.2, "seal_fraction", self.seal_fraction, "between 0 and 0.2")
        _check(0 <= self.floater_fraction <= 1, "floater_fraction", self.floater_fraction, "between 0 and 1")
        _check(self.taubin_iterations >= 0, "taubin_iterations", self.taubin_iterations, "0 or more")
        _check(self.max_triangles >= 100, "max_triangles", self.max_triangles, "at least 100")


def _check(valid: bool, key: str, value: object, wanted: str) -> None:
    if not valid:
        raise UserError(f"mesh settings: {key}={value} does not work; it must be {wanted}.")
