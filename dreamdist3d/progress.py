"""One way to show long work: a rich bar with steps, rate, time left and a changing note."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn


class Bar:
    """A running bar; `advance` moves it and replaces its note."""

    def __init__(self, progress: Progress, task: int) -> None:
        self._progress, self._task = progress, task

    def advance(self, note: str = "", steps: int = 1) -> None:
        """Move by `steps`; an empty note keeps the last one."""
        self._progress.advance(self._task, steps)
        if note:
            self._progress.update(self._task, note=note)


@contextmanager
def bar(title: str, total: int, done: int = 0) -> Iterator[Bar]:
    """Show a progress bar on stderr for `total` steps of which `done` are behind us."""
    columns = (
        TextColumn("[bold]{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        yield Bar(progress, progress.add_task(title, total=total, completed=done, note=""))
