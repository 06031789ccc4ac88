"""`run.json`: what a run is made of, how far it came, and what it took."""

import platform
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from time import perf_counter
from typing import Any, Literal

from dreamdist3d import __version__
from dreamdist3d.errors import Stopped
from dreamdist3d.files import read_json, write_json
from dreamdist3d.typed import build

State = Literal["pending", "running", "done", "failed", "stopped"]

_LIBRARIES = ("torch", "diffusers", "transformers", "nerfacc", "trimesh", "numpy")


@dataclass
class Manifest:
    """The record of one run.

    Args:
        draw: seed, gamma, covariance and omega_sha256; None for a plain text prompt.
        distribution: path, or a list of them, and sha256 (of the content, not of the file); None for a plain text.
        config: the resolved configuration.
        backbone: name, source and, as sha256, the text encoder's fingerprint.
        timings: seconds per phase, summed over restarts.
        error: the one line that ended a failed or stopped run.
    """

    state: State = "pending"
    draw: dict[str, Any] | None = None
    distribution: dict[str, Any] | None = None
    config: dict[str, Any] = field(default_factory=dict)
    backbone: dict[str, str] | None = None
    versions: dict[str, str] = field(default_factory=dict)
    timings: dict[str, float] = field(default_factory=dict)
    error: str | None = None

    def save(self, path: Path) -> None:
        """Write it whole or not at all."""
        write_json(path, asdict(self))

    @classmethod
    def load(cls, path: Path) -> "Manifest":
        """Read what `save` wrote.

        Raises:
            UserError: missing, not JSON, or not such a record; the message names the file.
        """
        return build(cls, read_json(path), str(path))

    @contextmanager
    def recording(self, path: Path) -> Iterator[None]:
        """Keep the file's state true while the work inside runs: running, then done, stopped or failed."""
        self.state, self.error = "running", None
        self.save(path)
        try:
            yield
        except BaseException as error:
            is_stop = isinstance(error, Stopped | KeyboardInterrupt)
            self.state, self.error = "stopped" if is_stop else "failed", _one_line(error)
            self.save(path)
            raise
        self.state = "done"
        self.save(path)

    @contextmanager
    def timed(self, phase: str) -> Iterator[None]:
        """Add the seconds spent inside to the phase's time."""
        start = perf_counter()
        try:
            yield
        finally:
            self.timings[phase] = round(self.timings.get(phase, 0.0) + perf_counter() - start, 3)


def current_versions() -> dict[str, str]:
    """The versions of Python, this package and the libraries that results depend on."""
    libraries = {name: metadata.version(name) for name in _LIBRARIES}
    return {"python": platform.python_version(), "dreamdist3d": __version__, **libraries}


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
