"""Child processes that end with this one, whatever becomes of it."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from functools import partial

from furiosa.enf import leaving
from furiosa.runtime.errors import HostProcessEnded

STOPPING = 1.0  # seconds


def is_single_threaded() -> bool:
    """Whether no other thread of this process can be in the midst of something that its copy would wait for."""
    try:
        return len(os.listdir("/proc/self/task")) == 1
    except OSError:
        return False


def call(command: Callable[[], int], what: str) -> int:
    """Calls a function in a child and returns its exit code.

    Raises:
        HostProcessEnded: a signal ended it; ``what`` is what to call it.
    """
    sys.stdout.flush()
    reading, life = os.pipe()
    try:
        with leaving.held():
            pid = os.fork()
            if pid:
                leaving.undo(pid, partial(_stop, pid))
        if not pid:
            status = 1
            try:
                os.close(life)
                leaving.end_with_parent(reading)
                leaving.watch()
                status = command()
                sys.stdout.flush()
            finally:
                os._exit(status)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        leaving.done(pid)
    finally:
        os.close(reading)
        os.close(life)
    if status < 0:
        raise HostProcessEnded(f"{what} was ended by {signal.Signals(-status).name}", -status)
    return status


def _stop(pid: int) -> None:
    """Lets a child undo what it has begun before it ends with this process."""
    os.kill(pid, signal.SIGTERM)
    end = time.monotonic() + STOPPING
    while time.monotonic() < end and not os.waitpid(pid, os.WNOHANG)[0]:
        time.sleep(1e-3)


class Copy:
    """A child of ``os.fork``, as subprocess.Popen has it."""

    def __init__(self, pid: int):
        self.pid, self._status = pid, None

    def poll(self) -> int | None:
        return self._reap(os.WNOHANG)

    def wait(self) -> int:
        return self._reap(0)

    def kill(self) -> None:
        if self.poll() is None:
            os.kill(self.pid, signal.SIGKILL)

    def _reap(self, flags: int) -> int | None:
        if self._status is None:
            pid, status = os.waitpid(self.pid, flags)
            if pid:
                self._status = os.waitstatus_to_exitcode(status)
        return self._status
