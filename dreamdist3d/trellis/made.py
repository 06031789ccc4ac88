"""What TRELLIS made of a draw: kept in a file, and as the source of an asset."""

import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dreamdist3d.errors import UserError, one_line
from dreamdist3d.files import write_bytes
from dreamdist3d.licences import Terms
from dreamdist3d.mesh.axes import to_world
from dreamdist3d.mesh.package import AssetSource
from dreamdist3d.mesh.painted import Painted
from dreamdist3d.mesh.read import read_painted
from dreamdist3d.mesh.render import joined
from dreamdist3d.mesh.repair import repair
from dreamdist3d.mesh.texture import mesh_colors

_TO_GLTF = [0, 2, 1], (1.0, 1.0, -1.0)  # z up -> y up, as its own `to_glb` turns its meshes


@dataclass(frozen=True, eq=False)
class Made:
    """A mesh with colours at its vertices, in TRELLIS's axes, and, if asked for, its own textured GLB."""

    vertices: np.ndarray  # [V, 3] float32 in about [-0.5, 0.5], z up
    faces: np.ndarray  # [F, 3] int64
    colors: np.ndarray  # [V, 3] uint8 sRGB
    glb: bytes | None = None

    def save(self, path: Path, identity: Mapping[str, str]) -> None:
        """Write it whole or not at all; `identity` says what it was made from.

        Raises:
            UserError: the folder cannot be written.
        """
        from safetensors.numpy import save

        arrays = {"vertices": self.vertices, "faces": self.faces, "colors": self.colors}
        if self.glb is not None:
            arrays["glb"] = np.frombuffer(self.glb, np.uint8)
        write_bytes(path, save(arrays, {"identity": json.dumps(dict(identity), sort_keys=True)}))

    @classmethod
    def load(cls, path: Path, identity: Mapping[str, str] | None = None) -> "Made":
        """Read what `save` wrote.

        Raises:
            UserError: missing, damaged, or made from something else than `identity` says.
        """
        from safetensors import safe_open
        from safetensors.numpy import load_file

        try:
            with safe_open(path, framework="numpy") as file:
                told = json.loads((file.metadata() or {})["identity"])
            arrays = load_file(path)
            glb = arrays["glb"].tobytes() if "glb" in arrays else None
            made = cls(arrays["vertices"], arrays["faces"], arrays["colors"], glb)
        except Exception as error:  # the library raises its own kinds on files that are cut off
            raise UserError(f"{path} is not what TRELLIS's runs keep ({one_line(error)}): make it again.") from error
        if identity is not None and told != dict(identity):
            raise UserError(f"{path} was made with another draw, seed or weights: choose another tag for a new run.")
        return made

    def source(self, name: str, origin: Mapping[str, Any], licences: tuple[Terms, ...]) -> AssetSource:
        """As the source of an asset, in our axes.

        Raises:
            UserError: no triangle has an area, or its own GLB cannot be read.
        """
        parts = self._parts()
        return AssetSource(name, repair(joined(parts)), mesh_colors(parts), origin, licences=licences)

    def _parts(self) -> list[Painted]:
        if self.glb is not None:
            with tempfile.TemporaryDirectory() as scratch:
                path = Path(scratch) / "trellis.glb"
                path.write_bytes(self.glb)
                return [part.moved(to_world(part.vertices)) for part in read_painted(path)]
        order, signs = _TO_GLTF
        return [Painted(to_world(self.vertices[:, order] * signs), self.faces, self.colors)]
