"""Ctrl-C and SIGTERM as a question the work answers between two steps."""

import signal
import threading
from types import FrameType


class StopSignal:
    """While entered, SIGINT and SIGTERM set `requested` instead of ending the process mid-write.

    A second signal ends the process the usual way. Outside the main thread, where Python takes no
    handlers, it never asks to stop.
    """

    def __init__(self) -> None:
        self.requested = False
        self._previous: dict[int, object] = {}

    def __enter__(self) -> "StopSignal":
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._previous[number] = signal.signal(number, self._ask)
        return self

    def __exit__(self, *_: object) -> None:
        self._restore()

    def _ask(self, number: int, frame: FrameType | None) -> None:
        self.requested = True
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous.clear()
