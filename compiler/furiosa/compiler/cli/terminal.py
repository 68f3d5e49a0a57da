"""The progress of a compilation on stderr."""

from __future__ import annotations

import sys
import time

from furiosa.enf import progress
from furiosa.enf.command import say


class Progress:
    """Tells of each stage before it starts and how long it took, where it is ``loud``; the open activity hears of it in any case."""

    def __init__(self, steps: int, loud: bool):
        self.steps, self.loud = steps, loud
        self._done = 0
        self._started = self._since = time.perf_counter()
        encoding = (getattr(sys.stderr, "encoding", None) or "").lower()
        self._magnifier, self._sparkles = ("🔍 ", "✨ ") if encoding.startswith("utf") else ("", "")

    def stage(self, source: str, target: str) -> None:
        """The stage from ``source`` to ``target`` starts; the one before, if any, is done."""
        self.done()
        self._done += 1
        self._since = time.perf_counter()
        progress.stage(source, target)
        if self.loud:
            say(f"[{self._done}/{self.steps}] {self._magnifier}Compiling from {source} to {target}")

    def done(self) -> None:
        """The last stage told of is done."""
        if self.loud and self._done:
            say(f"Done in {time.perf_counter() - self._since:.2f}s")

    def finish(self) -> None:
        """Everything is done."""
        if self.loud:
            say(f"{self._sparkles}Finished in {time.perf_counter() - self._started:.2f}s")
