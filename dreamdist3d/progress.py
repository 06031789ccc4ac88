"""One way to show long work: a rich bar with steps, rate, time left and a changing note."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

_LINE_SECONDS = 5.0


class Bar(Protocol):
    """A running display of work."""

    def advance(self, note: str = "", steps: int = 1) -> None:
        """Move by `steps`; an empty note keeps the last one."""


@contextmanager
def bar(title: str, total: int, done: int = 0, shown: bool = True) -> Iterator[Bar]:
    """Show progress on stderr for `total` steps of which `done` are behind us.

    A terminal gets a bar; a log file gets a line every few seconds, which whoever follows the log can show.
    One of several processes that work together is `shown`; the others keep silent.
    """
    console = Console(stderr=True)
    if not shown:
        yield _Silent()
        return
    if not console.is_terminal:
        yield _Lines(title, total, done)
        return
    columns = (
        TextColumn("[bold]{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=console) as progress:
        yield _RichBar(progress, progress.add_task(title, total=total, completed=done, note=""))


class _Silent:
    def advance(self, note: str = "", steps: int = 1) -> None:
        """Nothing to show."""


class _RichBar:
    def __init__(self, progress: Progress, task: TaskID) -> None:
        self._progress, self._task = progress, task

    def advance(self, note: str = "", steps: int = 1) -> None:
        self._progress.advance(self._task, steps)
        if note:
            self._progress.update(self._task, note=note)


class _Lines:
    def __init__(self, title: str, total: int, done: int) -> None:
        self._title, self._total, self._start, self._done, self._note = title, total, done, done, ""
        self._began = self._written = time.monotonic()

    def advance(self, note: str = "", steps: int = 1) -> None:
        self._done += steps
        self._note = note or self._note
        now = time.monotonic()
        if now - self._written >= _LINE_SECONDS or self._done == self._total:
            left = (now - self._began) / (self._done - self._start) * (self._total - self._done)
            print(
                f"{self._title} {self._done}/{self._total}, {left:.0f} s left, {self._note}",
                file=sys.stderr,
                flush=True,
            )
            self._written = now
