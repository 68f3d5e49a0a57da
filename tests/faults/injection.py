"""Exceptions that come out of nowhere, at the n-th moment at which one can."""

from __future__ import annotations

import sys
import threading
from types import FrameType
from typing import Self

# C functions that give something back: they need no memory
_SAFE = frozenset(("release", "__exit__", "_release_save", "close", "dup2", "unlink", "setprofile"))


class Fault:
    """Inside, ``error`` is raised at the moment number ``at``, from 0, in any code, the standard library's too.

    A signal handler, and so KeyboardInterrupt, may raise in the main thread where a Python function begins and where a C
    function has returned; there its result is lost.  Memory may be missing where either begins, in any thread.
    """

    def __init__(self, error: type[BaseException], at: int):
        self.error, self.at = error, at
        is_signal = error is KeyboardInterrupt
        self._moments = ("call", "c_return") if is_signal else ("call", "c_call")
        self._all_threads = not is_signal
        self._count = 0
        self.where: str | None = None  # None: it did not come so far
        self._on = False

    def __enter__(self) -> Self:
        self._on = True
        if self._all_threads:
            threading.setprofile(self._moment)
        sys.setprofile(self._moment)
        return self

    def __exit__(self, *_: object) -> None:
        self._on = False
        sys.setprofile(None)
        threading.setprofile(None)

    def _moment(self, frame: FrameType, event: str, function: object) -> None:
        if not self._on or event not in self._moments or frame.f_code.co_filename == __file__:
            return
        if event == "c_call" and getattr(function, "__name__", "") in _SAFE:
            return
        number, self._count = self._count, self._count + 1
        if number == self.at:
            self._on = False
            name = getattr(function, "__name__", "")
            self.where = f"{event} {name} {frame.f_code.co_filename}:{frame.f_lineno} {frame.f_code.co_name}"
            raise self.error
