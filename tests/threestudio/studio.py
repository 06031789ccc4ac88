"""A checkout of the real threestudio, made to run on a CPU, in a folder of its own."""

import os
import subprocess
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from dreamdist3d.threestudio.install import install

STANDINS = Path(__file__).with_name("standins")
HOME = os.environ.get("THREESTUDIO_HOME")
# What threestudio imports at once and no stand-in replaces.
_NEEDED = ("cv2", "imageio_ffmpeg", "jaxtyping", "mcubes", "pytorch_lightning", "typeguard")


def why_not() -> str | None:
    """The reason why the real threestudio cannot be driven here."""
    if not HOME:
        return "THREESTUDIO_HOME does not name a checkout of threestudio"
    missing = [name for name in _NEEDED if find_spec(name) is None]
    return f"{', '.join(missing)} missing: pip install -e .[threestudio]" if missing else None


@dataclass
class Studio:
    """The checkout's files by links, beside them a `custom` folder with the extension and the stand-ins."""

    folder: Path

    @classmethod
    def over(cls, home: Path, folder: Path) -> "Studio":
        """Link `home` into `folder` and install the extension there."""
        (folder / "custom").mkdir(parents=True)
        for name in ("launch.py", "threestudio", "extern", "load"):
            (folder / name).symlink_to((home / name).resolve())
        mvdream = home / "custom" / "threestudio-mvdream"
        for extension in (STANDINS / "custom" / "cpu.py", *([mvdream] if mvdream.exists() else [])):
            (folder / "custom" / extension.name).symlink_to(extension.resolve())
        install(folder)
        return cls(folder)

    @property
    def seen(self) -> Path:
        """What the stand-ins were given."""
        return self.folder / "seen"

    def environment(self, processes: int = 1) -> dict[str, str]:
        """For launch.py and all that it starts."""
        return os.environ | {
            "HF_HUB_OFFLINE": "1",
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": str(STANDINS / "packages"),
            "STANDIN_PROCESSES": str(processes),
            "STANDIN_SEEN": str(self.seen),
            "THREESTUDIO_HOME": str(self.folder),
        }

    def launch(self, *arguments: object, processes: int = 1) -> subprocess.CompletedProcess[str]:
        """Run threestudio's own launch.py."""
        command = [sys.executable, "-W", "ignore", "launch.py", *map(str, arguments)]
        if processes > 1:
            command += ["--gpu", ",".join(map(str, range(processes)))]
        return subprocess.run(
            command, cwd=self.folder, env=self.environment(processes), capture_output=True, text=True, timeout=500
        )

    def done(self, *arguments: object, processes: int = 1) -> str:
        """Run it and expect success; returns what it said."""
        result = self.launch(*arguments, processes=processes)
        assert result.returncode == 0, (result.stdout + result.stderr)[-6000:]
        return result.stdout + result.stderr

    def trials(self) -> list[Path]:
        """The folders of all runs, oldest first."""
        return sorted((self.folder / "outputs").glob("*/*"), key=lambda path: path.stat().st_ctime)
