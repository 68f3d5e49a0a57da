"""Which command must wait for which: the bookkeeping that the compiler and the verifier share.

A clock says for each engine how many of its commands are known to have ended.  A memory knows its live buffers and what
has been read and written in them; from that follows the clock that a new access needs.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import Any

from furiosa.enf import dtypes
from furiosa.enf.isa import Engine, Region

Clock = tuple[int, ...]

ZERO: Clock = (0,) * Engine.COUNT
_ITEMSIZE = dtypes.ITEMSIZE


class Overlap(Exception):
    """Two buffers share bytes while both live, or a buffer is outside its memory; the text names them."""


def join(a: Clock, b: Clock) -> Clock:
    """The later of two clocks, engine by engine."""
    return (
        a[0] if a[0] > b[0] else b[0],
        a[1] if a[1] > b[1] else b[1],
        a[2] if a[2] > b[2] else b[2],
        a[3] if a[3] > b[3] else b[3],
    )


def covers(a: Clock, b: Clock) -> bool:
    """Whether everything that ``b`` knows to have ended, ``a`` knows too."""
    return a[0] >= b[0] and a[1] >= b[1] and a[2] >= b[2] and a[3] >= b[3]


# one access: bytes [start, end), engine, place in that engine's order (from 1)
Access = tuple[int, int, int, int]


class Buffer:
    """A live buffer and what has happened in it."""

    __slots__ = ("name", "start", "end", "before", "accessed", "written", "writes", "reads", "dense", "strided")

    def __init__(self, name: str, start: int, end: int):
        self.name, self.start, self.end = name, start, end
        self.before = ZERO  # accesses of dead buffers at these addresses
        self.accessed = [0] * Engine.COUNT  # latest access per engine
        self.written = [0] * Engine.COUNT  # latest write per engine
        self.writes: list[Access] = []
        self.reads: list[Access] = []
        self.dense: list[tuple[int, int]] = []  # disjoint ascending intervals that are wholly written
        self.strided: list[Region] = []  # writes with holes

    def needed_to_read(self, clock: Clock, start: int, end: int) -> Clock:
        """The clock that a read of bytes [start, end) needs beyond ``clock``: writes of them have ended."""
        if covers(clock, self.written):
            return ZERO
        return _conflicts(self.writes, start, end)

    def needed_to_write(self, clock: Clock, start: int, end: int) -> Clock:
        """The clock that a write needs beyond ``clock``: reads and writes of the bytes, and earlier users, have ended."""
        needed = ZERO if covers(clock, self.before) else self.before
        if not covers(clock, self.accessed):
            needed = join(needed, _conflicts(self.writes, start, end))
            needed = join(needed, _conflicts(self.reads, start, end))
        return needed

    def read(self, engine: int, index: int, start: int, end: int) -> None:
        """Records a read."""
        self.reads.append((start, end, engine, index))
        self.accessed[engine] = index

    def write(self, engine: int, index: int, start: int, end: int, region: Region) -> None:
        """Records a write."""
        self.writes.append((start, end, engine, index))
        if end - start == region.nbytes:
            self.fill(start, end)
        else:
            self.strided.append(region)
        self.accessed[engine] = self.written[engine] = index

    def fill(self, start: int, end: int) -> None:
        """Marks bytes as written."""
        intervals = self.dense
        if intervals and intervals[-1][1] == start:  # the usual case: one band after the other
            intervals[-1] = (intervals[-1][0], end)
            return
        merged = []
        for s, e in intervals:
            if e < start or s > end:
                merged.append((s, e))
            else:
                start, end = min(s, start), max(e, end)
        merged.append((start, end))
        merged.sort()
        self.dense = merged

    def has(self, region: Region, start: int, end: int) -> bool:
        """Whether every byte of the region, which spans [start, end), has been written."""
        for s, e in self.dense:
            if s <= start and end <= e:
                return True
        return bool(self.dense or self.strided) and self._has_strided(region)

    def _has_strided(self, region: Region) -> bool:
        import numpy as np

        mask = np.zeros(self.end - self.start, np.bool_)

        def view(r: Region) -> Any:
            size = _ITEMSIZE[r.dtype]
            return np.ndarray((*r.shape, size), np.bool_, mask.data, r.address - self.start, (*r.strides, 1))

        for s, e in self.dense:
            mask[s - self.start : e - self.start] = True
        for written in self.strided:
            view(written)[...] = True
        if mask.all():
            self.dense, self.strided = [(self.start, self.end)], []
            return True
        return bool(view(region).all())


def _conflicts(accesses: list[Access], start: int, end: int) -> Clock:
    needed = [0] * Engine.COUNT
    for s, e, engine, index in accesses:
        if s < end and start < e and needed[engine] < index:
            needed[engine] = index
    return tuple(needed)


class Memory:
    """The buffers of one memory of ``size`` bytes over the time of the program."""

    def __init__(self, name: str, size: int):
        self.name, self.size = name, size
        self._starts: list[int] = []
        self._live: list[Buffer] = []
        self._dead: list[Buffer] = []

    def open(self, name: str, address: int, size: int) -> Buffer:
        """Begins a buffer's life.

        Raises:
            Overlap: it is outside the memory or shares bytes with a live buffer.
        """
        if size < 1 or address > self.size or size > self.size - address:
            raise Overlap(f"buffer '{name}' is not within the {self.size} bytes of {self.name}")
        buffer = Buffer(name, address, address + size)
        i = bisect_right(self._starts, address)
        for neighbour in self._live[max(i - 1, 0) : i + 1]:
            if neighbour.start < buffer.end and buffer.start < neighbour.end:
                raise Overlap(f"buffers '{neighbour.name}' and '{name}' overlap while both live")
        keep = []
        for old in self._dead:
            if old.start < buffer.end and buffer.start < old.end:
                buffer.before = join(buffer.before, join(old.before, tuple(old.accessed)))
                if buffer.start <= old.start and old.end <= buffer.end:
                    continue  # wholly replaced
            keep.append(old)
        self._dead = keep
        self._starts.insert(i, address)
        self._live.insert(i, buffer)
        return buffer

    def close(self, buffer: Buffer) -> None:
        """Ends a buffer's life."""
        i = bisect_right(self._starts, buffer.start) - 1
        del self._starts[i], self._live[i]
        self._dead.append(buffer)

    def find(self, start: int, end: int) -> Buffer | None:
        """The live buffer that holds bytes [start, end), if there is one."""
        i = bisect_right(self._starts, start) - 1
        if i < 0 or end > self._live[i].end:
            return None
        return self._live[i]


class Clocks:
    """What the end of each command issued so far implies."""

    def __init__(self) -> None:
        self.count = [0] * Engine.COUNT
        self._floor = ZERO
        self._ended: list[list[Clock]] = [[ZERO] for _ in range(Engine.COUNT)]

    def at_start(self, engine: int, waits: Clock) -> Clock:
        """What has ended when a command starts that waits so: its predecessor on the engine, and all it waits for."""
        clock = join(self._floor, self._ended[engine][-1])
        for other, wait in enumerate(waits):
            if wait:
                clock = join(clock, self._ended[other][wait])
        return clock

    def issue(self, engine: int, clock: Clock) -> int:
        """Appends a command that starts at ``clock``; returns its place in its engine's order."""
        self.count[engine] += 1
        ended = list(clock)
        ended[engine] = self.count[engine]
        self._ended[engine].append(tuple(ended))
        return self.count[engine]

    def barrier(self) -> None:
        """All engines have run dry (the end of a step of the plan)."""
        self._floor = tuple(self.count)
