"""A command that takes long says what it does, every ten seconds, whether or not stderr is a terminal.

Commands open an ``Activity``; what they call may say by ``now`` and ``detail`` what is done, and is heard only where one is open.
"""

from __future__ import annotations

import threading
import time
from types import TracebackType
from typing import Self

from furiosa.enf import threads
from furiosa.enf.command import say

EVERY = 10.0  # seconds

_open: list[Activity] = []  # the innermost last


def now(what: str) -> None:
    """From here on the command does this."""
    if _open:
        _open[-1].now(what)


def stage(source: str, target: str) -> None:
    """It compiles from one form of the model to the next."""
    now(f"compiling from {source} to {target}")


def detail(text: str) -> None:
    """How far it is with that."""
    if _open:
        _open[-1].detail(text)


class Activity:
    """What a command does, told on stderr every ten seconds while the context is open: ``m.onnx: 20 s so far, from cdfg to gir``."""

    def __init__(self, subject: str):
        self._subject = subject
        self._what = self._detail = ""
        self._ended = threading.Event()

    def now(self, what: str) -> None:
        """From here on the command does this."""
        self._what, self._detail = what, ""

    def detail(self, text: str) -> None:
        """How far it is with that."""
        self._detail = text

    def __enter__(self) -> Self:
        self._started = time.monotonic()
        thread = threading.Thread(target=self._tell, name="progress", daemon=True)
        self._thread = (
            thread if threads.start(thread) else None
        )  # on a system without threads nothing is told
        _open.append(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _open.remove(self)
        self._ended.set()
        if self._thread is not None:
            self._thread.join()

    def _tell(self) -> None:
        while not self._ended.wait(EVERY):
            words = [f"{time.monotonic() - self._started:.0f} s so far", self._what, self._detail]
            say(f"{self._subject}: {', '.join(filter(None, words))}")
