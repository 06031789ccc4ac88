"""The records of many runs, parsed again only when their files have changed."""

import os
import sys
from collections.abc import Iterable
from pathlib import Path

from dreamdist3d.errors import UserError
from dreamdist3d.runs.manifest import Manifest
from dreamdist3d.runs.trial import Trial

Record = Manifest | UserError | None
_DAMAGED = "run.json.damaged"


class Records:
    """What the `run.json` of each of some runs says: its content, the error of one that is damaged, or None.

    Asked several times a second for hundreds of runs: a look at the file's time and size comes before its content.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._known: dict[str, tuple[tuple[int, ...], Record]] = {}

    def of(self, name: str) -> Record:
        """The record of the run `name` as it is now; not to be changed."""
        path = Trial(self._folder / name).manifest_path
        try:
            found = os.stat(path)
        except OSError:
            return None
        stamp = (found.st_mtime_ns, found.st_size, found.st_ino)
        if self._known.get(name, ((), None))[0] != stamp:
            self._known[name] = (stamp, _read(path))
        return self._known[name][1]

    def any_open(self, names: Iterable[str], retries: int) -> bool:
        """Whether one of them is still to be done."""
        return any(is_open(self.of(name), retries) for name in names)


def is_open(record: Record, retries: int) -> bool:
    """Whether a run is still to be done; says nothing of who may be at it. One without a sound record is."""
    return not isinstance(record, Manifest) or (record.state != "done" and record.attempts <= retries)


def sound_record(trial: Trial, planned: Manifest) -> Manifest:
    """The record of a run whose folder is locked: what is there or, where that is gone or damaged, what was planned.

    A damaged one is kept beside it under another name.
    """
    record = _read(trial.manifest_path) if trial.manifest_path.exists() else None
    if isinstance(record, Manifest):
        return record
    if record is not None:
        os.replace(trial.manifest_path, trial.folder / _DAMAGED)
        print(f"warning: {record} It is kept as {_DAMAGED}, and the run goes on as planned.", file=sys.stderr)
    planned.save(trial.manifest_path)
    return planned


def _read(path: Path) -> Record:
    try:
        return Manifest.load(path)
    except UserError as error:
        return error
