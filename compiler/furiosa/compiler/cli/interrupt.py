"""What Ctrl-C does to a process that compiles."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

from furiosa.enf.command import INTERRUPTED


def leave_at_once() -> None:
    """From now on Ctrl-C ends the process, with status 130 and no word.

    The usual KeyboardInterrupt may strike while an extension module is being loaded; numpy and protobuf do not survive
    that cleanly.  A caller that ignores the signal or has a handler of its own keeps it.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _leave)


@contextmanager
def cleaning_up() -> Iterator[None]:
    """Inside, Ctrl-C is a KeyboardInterrupt again, so that files can be removed."""
    is_ours = signal.getsignal(signal.SIGINT) is _leave
    if is_ours:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        if is_ours:
            signal.signal(signal.SIGINT, _leave)


def _leave(*_: object) -> None:
    os._exit(INTERRUPTED)
