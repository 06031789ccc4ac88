"""`run.json`: what a run is made of, how far it came, and what it took."""

import hashlib
import json
import platform
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from time import perf_counter
from typing import Any, Literal

from dreamdist3d.errors import Stopped, UserError, one_line
from dreamdist3d.files import read_json, write_json
from dreamdist3d.typed import build
from dreamdist3d.version import __version__

State = Literal["pending", "running", "done", "failed", "stopped"]

HEARTBEAT_SECONDS = 5.0
_LIBRARIES = ("torch", "diffusers", "transformers", "trimesh", "numpy")


@dataclass
class Manifest:
    """The record of one run.

    Args:
        draw: seed, gamma, covariance and omega_sha256; None for a plain text prompt.
        distribution: path, or a list of them, and sha256 (of the content, not of the file); None for a plain text.
        config: the resolved configuration.
        backbone: name, source, as sha256 the text encoder's fingerprint, and as weights_sha256 that of all weights.
        device: what it runs on, as torch names it.
        lift: what the lift tells of itself, such as how backgrounds were cut.
        step, max_steps: of the lift, how many are done and how many there are.
        heartbeat: when the file was last written by a living process, UTC.
        attempts: how often a batch has begun this run.
        timings: seconds per phase, summed over restarts. Runs lifted in step share the seconds of their lift.
        error: the one line that ended a failed or stopped run.
        files: the results of a finished run by their paths in its folder, and their sizes in bytes.
    """

    state: State = "pending"
    draw: dict[str, Any] | None = None
    distribution: dict[str, Any] | None = None
    config: dict[str, Any] = field(default_factory=dict)
    backbone: dict[str, str] | None = None
    versions: dict[str, str] = field(default_factory=dict)
    device: str | None = None
    lift: dict[str, Any] = field(default_factory=dict)
    step: int = 0
    max_steps: int = 0
    heartbeat: str | None = None
    attempts: int = 0
    timings: dict[str, float] = field(default_factory=dict)
    error: str | None = None
    files: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._writing = threading.Lock()

    def save(self, path: Path, is_kept: bool = True) -> None:
        """Write it whole or not at all; without `is_kept` a power cut may undo it."""
        with self._writing:
            self.heartbeat = datetime.now(timezone.utc).isoformat(timespec="seconds")
            write_json(path, asdict(self), is_kept)

    @classmethod
    def load(cls, path: Path) -> "Manifest":
        """Read what `save` wrote.

        Raises:
            UserError: missing, not JSON, or not such a record; the message names the file.
        """
        return build(cls, read_json(path), str(path))

    @property
    def identity(self) -> dict[str, str]:
        """What the asset is lifted from, by name, for its checkpoints: no other run may go on from them."""
        if self.backbone is None:  # not begun yet
            return {}
        parts = {
            "draw": self.draw,
            "backbone": self.backbone.get("weights_sha256"),
            "seed": self.config.get("seed"),
        }
        return {
            name: hashlib.sha256(json.dumps(part, sort_keys=True).encode()).hexdigest()
            for name, part in parts.items()
            if part is not None
        }

    @contextmanager
    def kept_true(self, path: Path) -> Iterator[None]:
        """Keep the file true while the work inside runs: running, with a heartbeat, then what `end` said.

        An error that passes through ends the run as failed, Ctrl-C or SIGTERM as stopped.
        """
        self.state, self.error = "running", None
        self.save(path)
        over = threading.Event()
        pulse = threading.Thread(target=self._beat, args=(path, over), daemon=True)
        pulse.start()
        try:
            yield
        except BaseException as error:
            if self.state == "running":
                self.end(error)
            raise
        finally:
            over.set()
            pulse.join()
            self.save(path)

    def end(self, error: BaseException | None) -> None:
        """What became of the run: done without an error, else stopped or failed."""
        is_stop = isinstance(error, Stopped | KeyboardInterrupt)
        self.state = "done" if error is None else "stopped" if is_stop else "failed"
        self.error = None if error is None else one_line(error)

    def at_step(self, step: int) -> None:
        """How far the lift is; the next heartbeat writes it."""
        self.step = step

    def tell(self, name: str, value: Any) -> None:
        """Keep what the lift tells."""
        with self._writing:
            self.lift[name] = value

    def _beat(self, path: Path, over: threading.Event) -> None:
        while not over.wait(HEARTBEAT_SECONDS):
            try:
                self.save(path)
            except UserError:  # a disk that is full now may not be so at the end
                continue

    @contextmanager
    def timed(self, phase: str) -> Iterator[None]:
        """Add the seconds spent inside to the phase's time."""
        start = perf_counter()
        try:
            yield
        finally:
            with self._writing:
                self.timings[phase] = round(self.timings.get(phase, 0.0) + perf_counter() - start, 3)


def current_versions() -> dict[str, str]:
    """The versions of Python, this package and the libraries that results depend on."""
    libraries = {name: metadata.version(name) for name in _LIBRARIES}
    return {"python": platform.python_version(), "dreamdist3d": __version__, **libraries}
