"""Processes for tests."""

from __future__ import annotations

import os
import signal
import threading
import traceback
from collections.abc import Callable


def in_fork(check: Callable[[], None], seconds: int = 30) -> None:
    """Runs a check in a fork of this process, which must end well and in time, also where it hangs before the check begins."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            check()
            status = 0
        except BaseException:  # noqa: BLE001
            traceback.print_exc()
        finally:
            os._exit(status)
    end = threading.Timer(seconds, os.kill, (pid, signal.SIGKILL))
    end.start()
    try:
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    finally:
        end.cancel()
