"""Threads that cannot be started, or whose start is interrupted."""

from __future__ import annotations

import threading

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
