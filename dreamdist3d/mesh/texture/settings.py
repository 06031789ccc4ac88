"""What a user may set about textures."""

from dataclasses import dataclass

from dreamdist3d.errors import UserError


@dataclass(frozen=True)
class TextureSettings:
    """How a mesh gets its texture.

    Args:
        size: texels along each edge of the square maps; a power of two.
        unwrap_seconds: how long xatlas may take before box charts are used instead.
        normal_map: bake the dense mesh's normals.
        occlusion: bake how much of the sky each place sees.
        padding: texels kept free between two charts; charts stay apart down to mip level log2(padding).
        supersample: texels with contrast get supersample x supersample samples; 1 turns it off.

    Raises:
        UserError: a value outside its range; the message names the key.
    """

    size: int = 1024
    unwrap_seconds: float = 60.0
    normal_map: bool = True
    occlusion: bool = True
    padding: int = 4
    supersample: int = 2

    def __post_init__(self) -> None:
        power = 64 <= self.size <= 4096 and self.size & (self.size - 1) == 0
        _check(power, "size", self.size, "a power of two between 64 and 4096")
        _check(self.unwrap_seconds > 0, "unwrap_seconds", self.unwrap_seconds, "above 0")
        _check(0 <= self.padding <= self.size // 16, "padding", self.padding, "between 0 and a sixteenth of the size")
        _check(1 <= self.supersample <= 8, "supersample", self.supersample, "between 1 and 8")


def _check(valid: bool, key: str, value: object, wanted: str) -> None:
    if not valid:
        raise UserError(f"texture settings: {key}={value} does not work; it must be {wanted}.")
