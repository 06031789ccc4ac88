"""Ctrl-C and SIGTERM as a question the work answers between two steps."""

import signal
import threading
from types import FrameType
from typing import Any

_asked: list["StopSignal"] = []  # those entered now, the outermost first
_previous: dict[int, Any] = {}  # what the outermost found


class StopSignal:
    """While entered, SIGINT and SIGTERM set `requested` instead of ending the process mid-write.

    Work inside work enters one of its own: a signal asks all of them, whichever is innermost, and one that is entered
    after it is asked from the start. So whoever stops early, everybody above knows that there is to be an end.

    A second signal ends the process the usual way. Outside the main thread, where Python takes no
    handlers, it never asks to stop.
    """

    def __init__(self) -> None:
        self.requested = False

    def __enter__(self) -> "StopSignal":
        if threading.current_thread() is threading.main_thread():
            self.requested = any(one.requested for one in _asked)
            _asked.append(self)
            if len(_asked) == 1:
                _take_handlers()
        return self

    def __exit__(self, *_: object) -> None:
        if self in _asked:
            _asked.remove(self)
        if not _asked:
            _give_back_handlers()


def _take_handlers() -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        _previous[number] = signal.signal(number, _ask)


def _ask(number: int, frame: FrameType | None) -> None:
    for one in _asked:
        one.requested = True
    _give_back_handlers()  # the next signal is not asked but obeyed


def _give_back_handlers() -> None:
    if threading.current_thread() is threading.main_thread():
        for number, handler in _previous.items():
            signal.signal(number, handler)
        _previous.clear()
