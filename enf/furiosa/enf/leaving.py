"""How a command ends on SIGINT, SIGTERM and SIGHUP: at once, by 128 plus the signal's number, without a word and with nothing
half-written.

No exception is raised, which might strike anywhere: numpy and protobuf do not survive it while they are loaded, threads and
locks not while they are taken.  What has to be undone is registered before it is done, and is undone by the signal's handler.
Without ``on_signals``, in a program that uses this project as a library, nothing of all this happens.
"""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
PATIENCE = (
    0.5  # seconds that the main thread has to hear of a signal, before another thread ends the process for it
)

_undo: dict[object, Callable[[], object]] = {}
_held = 0  # blocks of ``held`` that the main thread is in
_waiting: int | None = None  # a signal that came meanwhile
_handled: dict[int, object] = {}  # the signals that are handled here, with what handled them before
_watched: int | None = None  # the descriptor of a thread that watches


def on_signals() -> None:
    """From now on these signals end the process, but for those that somebody handles or ignores, as nohup does."""
    for number in SIGNALS:
        before = signal.getsignal(number)
        if before in (signal.SIG_DFL, signal.default_int_handler):
            _handled[number] = before
            signal.signal(number, _heard)


def no_more() -> None:
    """They do again what they did before."""
    while _handled:
        signal.signal(*_handled.popitem())


def watch() -> None:
    """Ends the process also where the main thread does not hear of a signal, for it is in native code of another library.

    After ``on_signals``, in the main thread; otherwise it does nothing.
    """
    global _watched
    if not _handled or _watched is not None:
        return
    import _thread

    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    try:
        _thread.start_new_thread(_watch, (reading,))
    except RuntimeError:  # there is no thread left: the main thread hears of it later
        os.close(reading)
        os.close(writing)
        return
    _watched = writing
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)


class held:
    """In this block of the main thread a signal waits for the block's end: what is done in it is done whole, and registered."""

    def __enter__(self) -> None:
        global _held
        _held += 1

    def __exit__(self, *_: object) -> None:
        global _held
        _held = max(_held - 1, 0)  # less in a fork that was made in the block
        if not _held and _waiting is not None:
            _leave(_waiting)


def undo(key: object, function: Callable[[], object]) -> None:
    """What to do where a signal ends the process before ``done``."""
    _undo[key] = function


def done(key: object) -> None:
    """There is nothing to undo any more; so also where ``undo`` was never called."""
    _undo.pop(key, None)


def end_with_parent(life: int) -> None:
    """From now on this process ends when the pipe's other end closes, whatever it does, by a signal of the kernel."""
    import fcntl
    import select

    signal.signal(signal.SIGIO, signal.SIG_DFL)
    fcntl.fcntl(life, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(life, fcntl.F_SETFL, fcntl.fcntl(life, fcntl.F_GETFL) | os.O_ASYNC)
    if select.select([life], [], [], 0)[0]:  # it has closed already
        os._exit(0)


def _heard(number: int, _frame: object) -> None:
    global _waiting
    if _held:
        _waiting = number
    else:
        _leave(number)


def _leave(number: int) -> None:
    for function in reversed(list(_undo.values())):
        try:
            function()
        except Exception:  # noqa: BLE001, S110 - whatever it is, nobody is there to hear it, and the others are still to be undone
            pass
    os._exit(128 + number)


def _watch(reading: int) -> None:
    while True:
        for number in os.read(reading, 64):
            if number in _handled:
                time.sleep(PATIENCE)
                while _held:
                    time.sleep(0.01)
                _leave(number)


def _forked() -> None:
    """What there is to undo is the parent's, and so are its thread and its pipe."""
    global _held, _waiting, _watched
    _undo.clear()
    _held, _waiting = 0, None
    if _watched is not None:
        signal.set_wakeup_fd(-1)
        os.close(_watched)
        _watched = None


os.register_at_fork(after_in_child=_forked)
