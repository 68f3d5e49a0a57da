"""The order of work with loads placed ahead: each as late as the PE need not wait for it, and no earlier than SRAM has room.

The list's order decides how long a buffer lives, and so what may lie at the same addresses; when a load really starts follows
from what it waits for.
"""

from __future__ import annotations

from bisect import bisect_right

import numpy as np

from furiosa.compiler.gir.tile import ALIGNMENT, Buffer, Stage, Work
from furiosa.compiler.gir.work import cycles
from furiosa.enf.isa import Engine, Space
from furiosa.enf.target import Target

WINDOW = 128  # commands of the other engines that a load may run ahead of its use


def ahead(stages: list[Stage], target: Target, capacity: int, *, late: bool = False) -> list[Work]:
    """One list of all work, for ``capacity`` bytes of SRAM.

    Loads keep their order, and stay behind whatever wrote or read the same buffers before.  With ``late``, stores stand
    behind the work that can run beside them: so what is stored keeps its place until then, and that work needs not wait.
    """
    body: list[Work] = []
    loads: list[tuple[Work, int]] = []  # with the place in ``body`` before which it is needed
    waiting = _Stores(target)
    for stage in stages:
        body += waiting.before(stage)
        loads += [(w, len(body)) for w in stage.loads]
        for w in stage.computes:
            body.append(w)
            waiting.now += cycles(w, target)
        waiting.add(stage.stores)
        if not late:
            body += waiting.all()
    body += waiting.all()
    places = _places(body, loads, target, capacity)
    out: list[Work] = []
    done = 0
    for (load, _), at in zip(loads, places):
        out += body[done:at]
        done = at
        out.append(load)
    return out + body[done:]


def _places(body: list[Work], loads: list[tuple[Work, int]], target: Target, capacity: int) -> list[int]:
    """For each load the place in ``body`` before which it is emitted, ascending."""
    starts = []  # when each command of the body would start if nothing had to be waited for
    now = 0
    for w in body:
        starts.append(now)
        now += cycles(w, target) if w.engine == Engine.PE else 0
    wanted = []
    deadline = now
    for load, use in reversed(loads):
        deadline = min(deadline, starts[use] if use < len(body) else now) - cycles(load, target)
        at = bisect_right(starts, deadline) - 1 if deadline > 0 else 0
        wanted.append(max(at, use - WINDOW, 0))
    wanted.reverse()
    room = _Room(body, loads, capacity)
    out: list[int] = []
    for (load, use), at in zip(loads, wanted):
        at = max(at, out[-1] if out else 0, room.after(load, use))
        out.append(room.take(load.operands[-1].buffer, min(at, use), use))
    return out


class _Stores:
    """Stores that stand behind work that runs beside them; ``now`` is the time of the PE in cycles."""

    def __init__(self, target: Target):
        self.now = 0
        self._target = target
        self._free = 0  # when the engine has done what it has
        self._ends: list[int] = []  # of all stores, ascending
        self._stores: list[Work] = []
        self._done = 0  # so many stand in the list already
        self._sources: dict[Buffer, int] = {}  # the number of the last store from a buffer, from 1
        self._targets: dict[Buffer, int] = {}  # and to one

    def add(self, stores: list[Work]) -> None:
        for w in stores:
            self._free = max(self._free, self.now) + cycles(w, self._target)
            self._ends.append(self._free)
            self._stores.append(w)
            self._sources[w.operands[0].buffer] = self._targets[w.operands[-1].buffer] = len(self._stores)

    def before(self, stage: Stage) -> list[Work]:
        """The stores that have ended, and all up to the last on which a stage depends."""
        due = [bisect_right(self._ends, self.now)]
        due += [self._targets.get(w.operands[0].buffer, 0) for w in stage.loads]
        due += [self._sources.get(w.operands[-1].buffer, 0) for w in (*stage.loads, *stage.computes)]
        return self._until(max(due))

    def all(self) -> list[Work]:
        return self._until(len(self._stores))

    def _until(self, count: int) -> list[Work]:
        out = self._stores[self._done : count]
        self._done = max(self._done, count)
        return out


class _Room:
    """The bytes of SRAM that are taken at each command of the body, as loads get their places."""

    def __init__(self, body: list[Work], loads: list[tuple[Work, int]], capacity: int):
        self._capacity = capacity
        self._touched: dict[Buffer, list[int]] = {}  # by which commands of the body
        self._stored: dict[Buffer, list[int]] = {}
        for i, w in enumerate(body):
            for v in w.operands:
                if v.buffer.space == Space.SRAM and not v.buffer.is_resident:
                    self._touched.setdefault(v.buffer, []).append(i)
            if w.engine == Engine.STORE:
                self._stored.setdefault(w.operands[-1].buffer, []).append(i)
        self._first = {b: uses[0] for b, uses in self._touched.items()}
        change = [0] * (len(body) + 1)
        for b, uses in self._touched.items():
            change[uses[0]] += _size(b)
            change[uses[-1] + 1] -= _size(b)
        for load, use in loads:  # what is loaded and not used by the body lives where it is loaded
            b = load.operands[-1].buffer
            if b not in self._touched and use < len(body):
                change[use] += _size(b)
                change[use + 1] -= _size(b)
                self._first[b] = use
        self._taken = np.cumsum(change[:-1], dtype=np.int64)

    def after(self, load: Work, use: int) -> int:
        """The first place behind all that a load must follow: earlier uses of what it reads from and writes to."""
        source, tile = load.operands[0].buffer, load.operands[-1].buffer
        before = -1
        for uses in (self._stored.get(source), self._touched.get(tile)):
            if uses and uses[0] < use:
                before = max(before, uses[bisect_right(uses, use - 1) - 1])
        return before + 1

    def take(self, buffer: Buffer, at: int, use: int) -> int:
        """The first place from ``at`` to ``use`` from which on there is room for a buffer, which is taken."""
        first = self._first.get(buffer, use)
        if first <= at:  # it lives already
            return at
        size = _size(buffer)
        full = np.flatnonzero(self._taken[at:first] > self._capacity - size)
        if full.size:
            at += int(full[-1]) + 1
        self._taken[at:first] += size
        self._first[buffer] = at
        return min(at, use)


def _size(buffer: Buffer) -> int:
    return -(-buffer.size // ALIGNMENT) * ALIGNMENT
