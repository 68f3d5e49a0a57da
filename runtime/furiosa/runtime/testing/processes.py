"""Processes for tests."""

from __future__ import annotations

import os
import threading
import traceback
from collections.abc import Callable


def in_fork(check: Callable[[], None], seconds: int = 30) -> None:
    """Runs a check in a fork of this process, which must end well and in time."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            threading.Timer(seconds, os._exit, (2,)).start()
            check()
            status = 0
        except BaseException:  # noqa: BLE001
            traceback.print_exc()
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
