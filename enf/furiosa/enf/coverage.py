"""Which bytes of a buffer have been written.

Bytes are kept as runs that repeat: an interval under the pattern ``((count, step), …)`` stands for itself and for its
copies, ``step`` bytes apart.  The parts of a concatenation have one pattern and lie side by side, so they grow together into
larger runs and at last into a plain interval, the empty pattern.  What such merging does not decide, a map of bytes does.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from typing import Any

from furiosa.enf import dtypes
from furiosa.enf.errors import EnfVerifyError
from furiosa.enf.machine import Region

Pattern = tuple[tuple[int, int], ...]  # (count, step), innermost first
Intervals = list[tuple[int, int]]  # ascending, not touching

# bytes that all maps of one program may take together: verifying must not cost more than running
MAX_MAPPED = 1 << 30
PER_VIEW = 1 << 12  # what painting one interval costs, whatever its size, in the time of so many bytes


class Effort:
    """How much may still be spent on maps of bytes."""

    def __init__(self, left: int = MAX_MAPPED):
        self.left = left

    def spend(self, n: int) -> None:
        """Raises EnfVerifyError where not that much is left."""
        self.left -= n
        if self.left < 0:
            raise EnfVerifyError(
                "it is written in pieces too scattered to prove that it is wholly written", is_limit=True
            )


def runs(region: Region) -> tuple[int, int, Pattern]:
    """(first byte, end of the first run, pattern) of the bytes that a region touches."""
    run = dtypes.ITEMSIZE[region.dtype]
    pattern: list[tuple[int, int]] = []
    for step, count in sorted(zip(region.strides, region.shape)):
        if count == 1 or step == 0:
            continue
        if not pattern and step <= run:
            run += (count - 1) * step
        elif pattern and step == pattern[-1][0] * pattern[-1][1]:
            pattern[-1] = (count * pattern[-1][0], pattern[-1][1])
        else:
            pattern.append((count, step))
    return region.address, region.address + run, tuple(pattern)


def insert(intervals: Intervals, start: int, end: int) -> tuple[int, int]:
    """Adds [start, end), joined with what it touches; returns the interval that it is now in."""
    if intervals:
        last_start, last_end = intervals[-1]
        if start == last_end:  # the usual case: one band after the other
            intervals[-1] = (last_start, end)
            return last_start, end
        if start < last_end:
            first = bisect_left(intervals, start, key=_end)
            after = bisect_right(intervals, end, key=_start)
            if first < after:
                start, end = min(start, intervals[first][0]), max(end, intervals[after - 1][1])
            intervals[first:after] = [(start, end)]
            return start, end
    intervals.append((start, end))
    return start, end


def contains(intervals: Intervals, start: int, end: int) -> bool:
    """Whether [start, end) lies in one of the intervals."""
    i = bisect_right(intervals, start, key=_start) - 1
    return i >= 0 and end <= intervals[i][1]


def _start(interval: tuple[int, int]) -> int:
    return interval[0]


def _end(interval: tuple[int, int]) -> int:
    return interval[1]


class Coverage:
    """The written bytes of a buffer at [start, end)."""

    __slots__ = ("dense", "end", "start", "strided")

    def __init__(self, start: int, end: int):
        self.start, self.end = start, end
        self.dense: Intervals = []
        self.strided: dict[Pattern, Intervals] = {}

    def add(self, start: int, end: int, pattern: Pattern = ()) -> None:
        """Adds a run and its repetitions."""
        while pattern:
            intervals = self.strided.setdefault(pattern, [])
            start, end = insert(intervals, start, end)
            count, step = pattern[0]
            if end - start < step:
                return
            del intervals[
                bisect_right(intervals, start, key=_start) - 1
            ]  # the repetitions touch: one longer run
            if not intervals:
                del self.strided[pattern]
            end += (count - 1) * step
            pattern = pattern[1:]
        insert(self.dense, start, end)

    def add_region(self, region: Region) -> None:
        """Adds the bytes that a region touches."""
        self.add(*runs(region))

    def has(self, region: Region, start: int, end: int, effort: Effort) -> bool:
        """Whether every byte of a region within the buffer, which spans [start, end), has been written.

        Raises:
            EnfVerifyError: telling would take too long.
        """
        dense = self.dense
        if dense and dense[0][0] <= start and end <= dense[0][1]:  # the usual case: one interval
            return True
        if contains(dense, start, end):
            return True
        if not self.strided and len(dense) < 2:
            return False
        first, last, pattern = runs(region)
        if contains(self.strided.get(pattern, []), first, last):
            return True
        if not pattern and not self.strided:
            return False
        return self._mapped(first, last, pattern, effort)

    def _mapped(self, first: int, last: int, pattern: Pattern, effort: Effort) -> bool:
        import numpy as np

        effort.spend(self.end - self.start)
        written = np.zeros(self.end - self.start, np.bool_)

        def view(first: int, last: int, pattern: Pattern) -> Any:
            shape = (*(count for count, _ in pattern), last - first)
            strides = (*(step for _, step in pattern), 1)
            effort.spend(PER_VIEW + math.prod(shape))
            return np.ndarray(shape, np.bool_, written.data, first - self.start, strides)

        for s, e in self.dense:
            view(s, e, ())[...] = True
        for repeats, intervals in self.strided.items():
            for s, e in intervals:
                view(s, e, repeats)[...] = True
        if written.all():
            self.dense, self.strided = [(self.start, self.end)], {}
            return True
        if not view(first, last, pattern).all():
            return False
        self.add(first, last, pattern)  # the next reader need not ask again
        return True
