"""Starting threads on a system that may have none left, under signals that may come at any time."""

from __future__ import annotations

import sys
import threading


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
