"""A batch at a glance: its runs, how far they are, what failed, and the time left."""

import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from dreamdist3d.errors import UserError
from dreamdist3d.files import fcntl
from dreamdist3d.runs.locks import LOCK, holder_of
from dreamdist3d.runs.plan import BatchPlan
from dreamdist3d.runs.records import Record, Records

_REFRESH_SECONDS, _LINE_SECONDS = 1.0, 10.0
_BAD = {"failed": "red", "dead": "red", "damaged": "red"}
_COLORS = {"done": "green", "running": "cyan", **_BAD, "stopped": "yellow", "pending": "dim"}
_FIRST_SHOWN = ("failed", "dead", "damaged", "running", "stopped", "pending", "done")


@dataclass(frozen=True)
class RunStatus:
    """One line of the table."""

    name: str
    state: str  # of run.json; dead: running, and nobody is at it; damaged: the file cannot be read
    share: float  # of the lift that is done, [0, 1]
    seconds: float  # of lifting so far, of finished phases
    attempts: int
    device: str
    error: str


def status_of(folder: Path, plan: BatchPlan, records: Records | None = None) -> list[RunStatus]:
    """What every run's `run.json` says now; one that cannot be read says so, and the others are shown.

    Args:
        records: keeps what has not changed since the last look.
    """
    records = records or Records(folder)
    return [_status(folder, run.name, records.of(run.name)) for run in plan.runs]


def _status(folder: Path, name: str, record: Record) -> RunStatus:
    if record is None:
        return RunStatus(name, "pending", 0.0, 0.0, 0, "", "")
    if isinstance(record, UserError):
        return RunStatus(name, "damaged", 0.0, 0.0, 0, "", str(record))
    state = "dead" if record.state == "running" and not _is_held(folder / name) else record.state
    share = 1.0 if state == "done" else min(1.0, record.step / record.max_steps) if record.max_steps > 0 else 0.0
    seconds = sum(record.timings.values())
    return RunStatus(name, state, share, seconds, record.attempts, record.device or "", record.error or "")


def _is_held(run: Path) -> bool:
    """Whether somebody works at the run: the lock tells it, whatever any machine's clock says."""
    try:
        return fcntl is None or holder_of(run / LOCK) is not None
    except UserError:
        return False


def render_table(folder: Path, runs: list[RunStatus], left: float | None, height: int | None = None) -> RenderableType:
    """The table, the machine, and one line that sums up: in no more than `height` lines.

    Where not all runs fit, those that failed or are at work are shown first.
    """
    around = [Text(summary(folder, runs, left), style="bold"), *map(Text, machine_lines())]
    shown = _that_fit(runs, height and height - len(around) - 1)
    if len(shown) < len(runs):
        around.insert(0, Text(f"... and {len(runs) - len(shown)} more", style="dim"))
    table = Table(box=None, pad_edge=False)
    table.add_column(
        "run", no_wrap=True, min_width=max((len(run.name) for run in runs), default=0)
    )  # the reason gives way to it
    for title in ("state", "lift", "tries", "device", ""):
        table.add_column(title, no_wrap=title != "" or height is not None)
    for run in shown:
        state = Text(run.state, style=_COLORS[run.state])
        table.add_row(run.name, state, f"{100 * run.share:.0f} %", str(run.attempts), run.device, Text(run.error))
    return Group(table, *around)


def _that_fit(runs: list[RunStatus], lines: int | None) -> list[RunStatus]:
    if lines is None or len(runs) <= lines:
        return runs
    return sorted(runs, key=lambda run: _FIRST_SHOWN.index(run.state))[: max(lines - 1, 1)]


def summary(folder: Path, runs: list[RunStatus], left: float | None) -> str:
    """How many runs are in which state, and the time left."""
    counts = Counter(run.state for run in runs)
    parts = [f"{counts[state]} {state}" for state in _COLORS if counts[state]]
    time_left = f", about {_duration(left)} left" if left is not None else ""
    return f"{folder.name}: {', '.join(parts)} of {len(runs)}{time_left}"


def machine_lines() -> list[str]:
    """Memory of the GPUs, where NVIDIA's tool is there to ask, and of the machine."""
    lines = []
    if shutil.which("nvidia-smi"):
        query = "--query-gpu=index,name,memory.used,memory.total,utilization.gpu"
        asked = ["nvidia-smi", query, "--format=csv,noheader"]
        found = subprocess.run(asked, capture_output=True, text=True, timeout=10, check=False)
        lines += [f"GPU {line}" for line in found.stdout.splitlines()]
    import psutil

    memory = psutil.virtual_memory()
    return [*lines, f"memory {memory.used / 2**30:.1f} of {memory.total / 2**30:.1f} GiB"]


class Pace:
    """The time left, from the steps made since it was first asked."""

    def __init__(self, runs: list[RunStatus]) -> None:
        self._began, self._first = time.monotonic(), _work_done(runs)

    def left(self, runs: list[RunStatus]) -> float | None:
        """Seconds, or None as long as nothing has moved."""
        done = _work_done(runs)
        gone = time.monotonic() - self._began
        open_runs = [run for run in runs if run.state not in ("done", "failed", "damaged")]
        if done <= self._first or not open_runs:
            return None
        return gone / (done - self._first) * sum(1 - run.share for run in open_runs)


def _work_done(runs: list[RunStatus]) -> float:
    return sum(run.share for run in runs)


def _duration(seconds: float) -> str:
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min" if minutes else f"{seconds:.0f} s"


@contextmanager
def shown_progress(folder: Path, plan: BatchPlan, records: Records) -> Iterator[Callable[[], None]]:
    """Keep the table on a terminal, or write a line now and then; call what is given as often as you like."""
    pace = Pace(status_of(folder, plan, records))
    if Console(stderr=True).is_terminal:
        with Live(console=Console(stderr=True), auto_refresh=False) as live:

            def draw() -> None:
                runs = status_of(folder, plan, records)
                live.update(render_table(folder, runs, pace.left(runs), live.console.height - 1), refresh=True)

            yield _at_most_every(_REFRESH_SECONDS, draw)
            draw()
        return

    def write() -> None:
        runs = status_of(folder, plan, records)
        print(summary(folder, runs, pace.left(runs)), file=sys.stderr, flush=True)

    yield _at_most_every(_LINE_SECONDS, write)


def _at_most_every(seconds: float, act: Callable[[], None]) -> Callable[[], None]:
    last = -seconds

    def maybe() -> None:
        nonlocal last
        if time.monotonic() - last >= seconds:
            last = time.monotonic()
            act()

    return maybe


def watch(folder: Path, plan: BatchPlan, once: bool = False) -> None:
    """Print the table; on a terminal keep it true until every run has ended, or Ctrl-C."""
    console, records = Console(), Records(folder)
    pace = Pace(status_of(folder, plan, records))
    if once or not console.is_terminal:
        runs = status_of(folder, plan, records)
        console.print(render_table(folder, runs, pace.left(runs)))
        return
    with Live(console=console, auto_refresh=False) as live:
        while True:
            runs = status_of(folder, plan, records)
            live.update(render_table(folder, runs, pace.left(runs), console.height - 1), refresh=True)
            if all(run.state in ("done", "failed", "stopped", "damaged") for run in runs):
                return
            time.sleep(_REFRESH_SECONDS)


def describe_plan(folder: Path, plan: BatchPlan) -> str:
    """What a batch would do, one line for each run."""
    config = plan.run_config
    head = (
        f"{folder}: {len(plan.runs)} runs of {config.lift().max_steps} steps with backbone "
        f"{config.system.backbone}, {plan.draws} draws"
    )
    lines = []
    for run in plan.runs:
        draw = "" if run.draw_seed is None else f", draw {run.draw_seed}{' (twin)' if run.antithetic else ''}"
        lines.append(f"  {run.name}: seed {run.seed}{draw}")
    return "\n".join([head, *lines])
