"""WebDataset shards: plain tar files in which what belongs together has one name and stands side by side."""

import io
import json
import tarfile
from collections.abc import Iterable
from pathlib import Path

from dreamdist3d.files import write_atomic
from dreamdist3d.synthetic.settings import Planned


def shard_path(folder: Path, number: int) -> Path:
    """shard-000012.tar."""
    return folder / f"shard-{number:06d}.tar"


def write_shard(path: Path, pictures: Iterable[tuple[Planned, bytes]]) -> None:
    """KEY.png, KEY.cls (the label as digits) and KEY.json of each picture; equal pictures make equal bytes.

    Raises:
        UserError: it cannot be written.
    """

    def write(temporary: Path) -> None:
        with tarfile.open(temporary, "w", format=tarfile.USTAR_FORMAT) as archive:
            for one, picture in pictures:
                for suffix, content in (
                    ("png", picture),
                    ("cls", str(one.label).encode()),
                    ("json", json.dumps(one.as_dict()).encode()),
                ):
                    entry = tarfile.TarInfo(f"{key_of(one)}.{suffix}")  # no time, no owner
                    entry.size = len(content)
                    archive.addfile(entry, io.BytesIO(content))

    write_atomic(path, write)


def key_of(one: Planned) -> str:
    """What names a picture's files in a shard: no dots, at which readers cut."""
    return f"{one.label:04d}_{one.index:06d}"
