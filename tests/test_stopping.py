"""Stop signals, however deep the work is that they meet."""

import os
import signal
import threading

import pytest

from dreamdist3d.stopping import StopSignal


@pytest.fixture(params=[signal.SIGINT, signal.SIGTERM])
def number(request: pytest.FixtureRequest) -> int:
    return request.param


def handlers() -> tuple[object, object]:
    return signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)


def test_a_signal_asks_every_level(number: int) -> None:
    before = handlers()
    with StopSignal() as outer, StopSignal() as middle:
        with StopSignal() as inner:
            assert not (outer.requested or middle.requested or inner.requested)
            os.kill(os.getpid(), number)
            assert outer.requested and middle.requested and inner.requested
        assert outer.requested and middle.requested
        with StopSignal() as later:
            assert later.requested
    assert handlers() == before


def test_a_signal_after_the_inner_work_asks_the_outer_and_what_it_begins(number: int) -> None:
    with StopSignal() as outer:
        with StopSignal():
            pass
        os.kill(os.getpid(), number)
        assert outer.requested
        with StopSignal() as inner:
            assert inner.requested


def test_the_second_signal_is_obeyed_at_any_depth() -> None:
    with pytest.raises(KeyboardInterrupt), StopSignal(), StopSignal():
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGINT)
    with StopSignal() as fresh:
        assert not fresh.requested


def test_an_error_on_the_way_gives_the_handlers_back(number: int) -> None:
    before = handlers()
    with pytest.raises(ValueError), StopSignal(), StopSignal():
        raise ValueError
    assert handlers() == before


def test_other_threads_are_never_asked() -> None:
    asked = []

    def work() -> None:
        with StopSignal() as stop:
            asked.append(stop.requested)

    with StopSignal():
        os.kill(os.getpid(), signal.SIGTERM)
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    assert asked == [False]
