"""The workers of a session: programs that threads take in turn."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakSet

from furiosa.runtime.errors import FuriosaRuntimeError
from furiosa.runtime.program import Program

if TYPE_CHECKING:
    from furiosa.enf.reader import Enf

MAX_WORKERS = 1 << 12

T = TypeVar("T")


class Workers:
    """Up to ``count`` programs over one ENF; a thread uses an idle one or waits.

    A program that was left by anything but an error of this package, by Ctrl-C say, may be anywhere in its work and is
    never used again: the next that is needed is a new one.
    """

    def __init__(self, enf: Enf, count: int, host_process: bool = False):
        self.enf, self._host_process = enf, host_process
        self.count = count
        self._is_closed = False
        self._slots = _semaphore(count)
        self._idle = deque([Program(enf, host_process)])
        _all.add(self)

    def use(self, function: Callable[[Program], T]) -> T:
        """What a function returns for a program that nobody else uses meanwhile."""
        with self._slots:
            return self._use(self._take(), function)

    def use_all(self, function: Callable[[Program], Any]) -> None:
        """Calls a function for as many programs as there may be, one after the other."""
        with self._slots:
            for program in [self._take() for _ in range(self.count)]:
                self._use(program, function)

    def _take(self) -> Program:
        try:
            return self._idle.pop()
        except IndexError:  # all are at work and a slot is free
            return Program(self.enf, self._host_process)

    def _use(self, program: Program, function: Callable[[Program], T]) -> T:
        try:
            result = function(program)
        except FuriosaRuntimeError:  # told between two steps
            self._give_back(program)
            raise
        self._give_back(program)
        return result

    def _give_back(self, program: Program) -> None:
        if len(self._idle) < self.count:
            self._idle.append(program)
        if self._is_closed:
            self.close()

    def close(self) -> None:
        """Ends what idle programs have started, and of those at work when they are idle again."""
        self._is_closed = True
        with suppress(IndexError):
            while True:
                self._idle.pop().close()

    def forked(self) -> None:
        """In the child of a fork, where no thread comes back that had a program then, and host runtimes have lost theirs."""
        self._slots, self._idle = _semaphore(self.count), deque()


def _semaphore(count: int) -> Any:
    """A semaphore for ``with``, entered and left by C functions alone.

    ``threading.Semaphore`` is written in Python: a signal handler that raises in the midst of it takes a place away for ever.
    """
    if count == 1:
        return threading.Lock()
    places: SimpleQueue[object] = SimpleQueue()
    for _ in range(count):
        places.put(None)
    # on leaving, put(type, exception, traceback) takes the second and third for its options, which it ignores
    return type("Semaphore", (), {"__enter__": places.get, "__exit__": places.put})()


_all: WeakSet[Workers] = WeakSet()


def _forked() -> None:
    for workers in list(_all):
        workers.forked()


os.register_at_fork(after_in_child=_forked)
