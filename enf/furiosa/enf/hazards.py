"""Which command must wait for which: the bookkeeping that the compiler and the verifier share.

A clock says for each engine how many of its commands are known to have ended.  A memory knows its live buffers and what
has been read and written in them; from that follows the clock that a new access needs.  Where a list would grow without
bound, its older half is merged into what covers it: more waiting than needed, and never less.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right

from furiosa.enf.coverage import Coverage
from furiosa.enf.errors import EnfVerifyError
from furiosa.enf.machine import Engine, Region

Clock = tuple[int, ...]

ZERO: Clock = (0,) * Engine.COUNT

MAX_LIVE = 1 << 16  # buffers of one memory that live at the same time
MAX_ACCESSES = 64  # of one buffer that are told apart
MAX_PAST = 1 << 12  # pieces of memory whose dead buffers are told apart


class Overlap(Exception):
    """Two buffers share bytes while both live, or a buffer is outside its memory; the text names them."""


def join(a: Clock, b: Clock) -> Clock:
    """The later of two clocks, engine by engine."""
    # max() would take several times as long, and this is called for every operand
    return (
        a[0] if a[0] > b[0] else b[0],  # noqa: FURB136
        a[1] if a[1] > b[1] else b[1],  # noqa: FURB136
        a[2] if a[2] > b[2] else b[2],  # noqa: FURB136
    )


def covers(a: Clock, b: Clock | list[int]) -> bool:
    """Whether everything that ``b`` knows to have ended, ``a`` knows too."""
    return a[0] >= b[0] and a[1] >= b[1] and a[2] >= b[2]


# one access: bytes [start, end), engine, place in that engine's order (from 1)
Access = tuple[int, int, int, int]


class Buffer:
    """A live buffer and what has happened in it."""

    __slots__ = ("accessed", "before", "coverage", "end", "name", "reads", "start", "writes", "written")

    def __init__(self, name: str, start: int, end: int, before: Clock = ZERO):
        self.name, self.start, self.end = name, start, end
        self.before = before  # accesses of dead buffers at these addresses
        self.accessed = [0] * Engine.COUNT  # latest access per engine
        self.written = [0] * Engine.COUNT  # latest write per engine
        self.writes: list[Access] = []
        self.reads: list[Access] = []
        self.coverage = Coverage(start, end)

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
        if len(self.reads) > MAX_ACCESSES:
            _merge_older(self.reads)
        self.accessed[engine] = index

    def write(self, engine: int, index: int, start: int, end: int, region: Region) -> None:
        """Records a write of a region, which spans [start, end) and touches no byte twice."""
        self.writes.append((start, end, engine, index))
        if len(self.writes) > MAX_ACCESSES:
            _merge_older(self.writes)
        self.accessed[engine] = self.written[engine] = index
        if end - start == region.nbytes:
            self.coverage.add(start, end)
        else:
            self.coverage.add_region(region)

    def fill(self, start: int, end: int) -> None:
        """Marks bytes as written."""
        self.coverage.add(start, end)


def _merge_older(accesses: list[Access]) -> None:
    """Makes one of the older accesses of each engine: they span more, so waiting for them errs to the safe side."""
    older = accesses[: MAX_ACCESSES // 2]
    merged = []
    for engine in range(Engine.COUNT):
        own = [a for a in older if a[2] == engine]
        if own:
            merged.append((min(a[0] for a in own), max(a[1] for a in own), engine, max(a[3] for a in own)))
    accesses[: MAX_ACCESSES // 2] = merged


def _conflicts(accesses: list[Access], start: int, end: int) -> Clock:
    needed = [0] * Engine.COUNT
    for s, e, engine, index in accesses:
        if s < end and start < e and needed[engine] < index:
            needed[engine] = index
    return tuple(needed)


class Past:
    """For each piece of a memory the clock at which all its dead buffers are done with."""

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._pieces: list[tuple[int, int, Clock]] = []  # disjoint, ascending

    def clock(self, start: int, end: int) -> Clock:
        """The clock of bytes [start, end)."""
        clock = ZERO
        first, after = self._touching(start, end)
        for _, _, c in self._pieces[first:after]:
            clock = join(clock, c)
        return clock

    def add(self, start: int, end: int, clock: Clock) -> None:
        """Sets the clock of bytes [start, end), which is not earlier than what it was."""
        first, after = self._touching(start, end)
        pieces = [(start, end, clock)]
        if first < after:
            head, tail = self._pieces[first], self._pieces[after - 1]
            if head[0] < start:
                pieces.insert(0, (head[0], start, head[2]))
            if tail[1] > end:
                pieces.append((end, tail[1], tail[2]))
        self._pieces[first:after] = pieces
        self._starts[first:after] = [p[0] for p in pieces]
        if len(self._pieces) > MAX_PAST:
            low, high = self._pieces[0][0], self._pieces[-1][1]
            self._pieces = [(low, high, self.clock(low, high))]
            self._starts = [low]

    def _touching(self, start: int, end: int) -> tuple[int, int]:
        """The places of the pieces that share bytes with [start, end)."""
        first = bisect_right(self._starts, start) - 1
        if first < 0 or self._pieces[first][1] <= start:
            first += 1
        return first, bisect_left(self._starts, end, first)


class Memory:
    """The buffers of one memory of ``size`` bytes over the time of the program."""

    def __init__(self, name: str, size: int):
        self.name, self.size = name, size
        self._starts: list[int] = []
        self._live: list[Buffer] = []
        self._past = Past()

    @property
    def live(self) -> tuple[Buffer, ...]:
        """The live buffers by address."""
        return tuple(self._live)

    def open(self, name: str, address: int, size: int) -> Buffer:
        """Begins a buffer's life.

        Raises:
            Overlap: it is outside the memory, shares bytes with a live buffer, or is one too many.
        """
        if size < 1 or address > self.size or size > self.size - address:
            raise Overlap(f"buffer '{name}' is not within the {self.size} bytes of {self.name}")
        end = address + size
        i = bisect_right(self._starts, address)
        for neighbour in self._live[max(i - 1, 0) : i + 1]:
            if neighbour.start < end and address < neighbour.end:
                raise Overlap(f"buffers '{neighbour.name}' and '{name}' overlap while both live")
        if len(self._live) == MAX_LIVE:
            raise EnfVerifyError(
                f"more than {MAX_LIVE} buffers of {self.name} live at the same time", is_limit=True
            )
        buffer = Buffer(name, address, end, self._past.clock(address, end))
        self._starts.insert(i, address)
        self._live.insert(i, buffer)
        return buffer

    def close(self, buffer: Buffer) -> None:
        """Ends a buffer's life."""
        i = bisect_right(self._starts, buffer.start) - 1
        del self._starts[i], self._live[i]
        self._past.add(buffer.start, buffer.end, join(buffer.before, tuple(buffer.accessed)))

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
