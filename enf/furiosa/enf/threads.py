"""Threads on a system that may have none left, under signals that may come at any time."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import TypeVar

# Seconds after which who waits looks whether the thread still lives.  The main thread hears by then, too, of a signal that came right
# before it began to wait, which such a signal does not interrupt.
WATCH = 0.5

T = TypeVar("T")


def start(thread: threading.Thread) -> bool:
    """Starts a thread; False where the system has none left.

    What a signal handler raises meanwhile comes out of here, also where ``threading`` makes a RuntimeError of it; the thread
    may be running then.
    """
    handled = sys.exception()
    try:
        thread.start()
    except RuntimeError as e:
        if e.__context__ not in (None, handled):
            raise e.__context__ from None
        return False
    return True


def receive(queue: SimpleQueue[T], thread: threading.Thread) -> T:
    """What a thread puts into a queue.

    Raises:
        MemoryError: it has ended without, which it does for lack of the few bytes that this takes.
    """
    while True:
        is_alive = thread.is_alive()
        try:
            return queue.get(timeout=WATCH)
        except Empty:
            if not is_alive:
                raise MemoryError("a thread has ended") from None


def call(function: Callable[[], T]) -> T:
    """What a function returns, called on a thread of its own: signal handlers do not interrupt it, only who waits for it.

    Where the system has no thread left, it is called here.
    """
    outcomes: SimpleQueue[tuple[T | None, BaseException | None]] = SimpleQueue()

    def work() -> None:
        try:
            outcome = function(), None
        except BaseException as e:  # noqa: BLE001 - raised by who waits
            outcome = None, e
        outcomes.put(outcome)

    thread = threading.Thread(target=work, name="uninterrupted", daemon=True)
    if not start(thread):
        return function()
    result, error = receive(outcomes, thread)
    if error is not None:
        raise error
    return result
