"""One BLAS thread for each of the two threads that a command is cut for: two callers inside a multi-threaded BLAS only get in each other's way."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

_lock = threading.Lock()
_users = 0
_limit = None


@cache
def _controller() -> object:
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


@contextmanager
def single_threaded() -> Iterator[None]:
    """Holds the process's BLAS at one thread; the last of several users gives the threads back."""
    global _users, _limit
    with _lock:
        if _users == 0:
            _limit = _controller().limit(limits=1, user_api="blas")
        _users += 1
    try:
        yield
    finally:
        with _lock:
            _users -= 1
            if _users == 0:
                _limit.restore_original_limits()


def _forked() -> None:
    """In the child of a fork, where no thread of the parent goes on and gives the threads back."""
    global _lock, _users
    _lock = threading.Lock()
    if _users:
        _users = 0
        _limit.restore_original_limits()


os.register_at_fork(after_in_child=_forked)
