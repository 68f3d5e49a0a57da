"""Threads that cannot be started, or whose start is interrupted."""

from __future__ import annotations

import signal
import threading
from queue import SimpleQueue

import pytest

from furiosa.enf import threads


def refusing(context: BaseException | None):
    def start(self: threading.Thread) -> None:
        try:
            if context is not None:
                raise context
        finally:
            raise RuntimeError("can't start new thread")

    return start


def test_a_thread_starts():
    done = threading.Event()
    assert threads.start(threading.Thread(target=done.set))
    assert done.wait(10)


def test_no_thread_is_left(monkeypatch):
    monkeypatch.setattr(threading.Thread, "start", refusing(None))
    assert not threads.start(threading.Thread())
    try:
        raise ValueError
    except ValueError:  # which is the context of whatever is raised in here
        assert not threads.start(threading.Thread())


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_what_interrupts_the_start_comes_out(monkeypatch, error):
    monkeypatch.setattr(threading.Thread, "start", refusing(error()))
    with pytest.raises(error):
        threads.start(threading.Thread())
    try:
        raise TypeError
    except TypeError:
        with pytest.raises(error):
            threads.start(threading.Thread())


def test_what_is_called_on_a_thread():
    assert threads.call(lambda: threading.current_thread()) is not threading.current_thread()
    with pytest.raises(ValueError, match="no"):
        threads.call(lambda: int("no"))


def test_it_is_called_here_where_there_is_no_thread(monkeypatch):
    monkeypatch.setattr(threading.Thread, "start", refusing(None))
    assert threads.call(lambda: threading.current_thread()) is threading.current_thread()


def test_a_signal_interrupts_who_waits_and_not_what_is_called():
    begun, go_on, ended = threading.Event(), threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        go_on.wait(30)
        ended.set()

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        with pytest.raises(KeyboardInterrupt):
            threads.call(work)
    finally:
        signal.signal(signal.SIGALRM, before)
    assert begun.is_set() and not ended.is_set()
    go_on.set()
    assert ended.wait(30)


def test_a_thread_that_ends_without_a_word(monkeypatch):
    monkeypatch.setattr(threads, "WATCH", 0.01)
    thread = threading.Thread(target=lambda: None)
    thread.start()
    with pytest.raises(MemoryError, match="a thread has ended"):
        threads.receive(SimpleQueue(), thread)
