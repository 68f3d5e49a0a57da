"""Addresses for buffers whose lifetimes are known.

Finding the least memory is NP-hard.  Largest first, each at the lowest gap that fits it best, meets the lower bound on most
programs; where it does not, the order of placing is improved for a bounded number of steps.  Where very many live together, each takes
the best gap in the order of their births.
"""

from __future__ import annotations

import random
from bisect import bisect_left, insort
from dataclasses import dataclass

from furiosa.compiler.gir.tile import ALIGNMENT, Buffer
from furiosa.enf.hazards import MAX_LIVE

_EFFORT = 1 << 20  # pairs of buffers that the improvement may look at: well below a second
_MOST_PAIRS = 1 << 20  # of buffers that live together, to be told apart


@dataclass(slots=True, eq=False)
class Lifetime:
    """A buffer that lives from command ``first`` to command ``last``, both inclusive; ``address`` is the answer."""

    buffer: Buffer
    first: int
    last: int
    address: int = -1

    def end(self, alignment: int) -> int:
        """The first address after it; it takes whole units of ``alignment``."""
        return self.address + _up(self.buffer.size, alignment)


def allocate(
    lifetimes: list[Lifetime], capacity: int, alignment: int, *, effort: int = _EFFORT
) -> Lifetime | None:
    """Gives every lifetime an address below ``capacity`` bytes; returns one that found no place, else None.

    The addresses depend on nothing but the lifetimes in their order, their sizes and the arguments.
    """
    starts, ends = sorted(x.first for x in lifetimes), sorted(x.last for x in lifetimes)
    older = [i - bisect_left(ends, first) for i, first in enumerate(starts)]  # that live at each birth
    if max(older, default=0) >= MAX_LIVE:
        return max(lifetimes, key=lambda x: x.first)
    if sum(older) > _MOST_PAIRS:
        return _by_birth(lifetimes, capacity, alignment)
    items = sorted(lifetimes, key=lambda x: (-x.buffer.size, x.first, x.last, x.buffer.name))
    problem = _Problem(items, alignment)
    bound = peak_bytes(lifetimes, alignment)[0]
    best = problem.place(list(range(len(items))), None)
    if best.peak > bound and bound <= capacity:
        best = problem.improve(best, bound, effort)
    failed = None
    for i in best.order:
        fits = best.addresses[i] + items[i].buffer.size <= capacity
        items[i].address = best.addresses[i] if fits else -1
        if failed is None and not fits:
            failed = items[i]
    return failed


def _by_birth(lifetimes: list[Lifetime], capacity: int, alignment: int) -> Lifetime | None:
    """The same in the order of birth, each in the smallest gap that it fits: in time that hardly grows with how many live."""
    gaps = _Gaps(capacity)
    dying = sorted(lifetimes, key=lambda x: x.last)
    dead = 0
    failed = None
    for x in sorted(lifetimes, key=lambda x: (x.first, -x.buffer.size, x.last, x.buffer.name)):
        while dying[dead].last < x.first:
            if dying[dead].address >= 0:
                gaps.give(dying[dead].address, _up(dying[dead].buffer.size, alignment))
            dead += 1
        x.address = gaps.take(_up(x.buffer.size, alignment))
        if x.address < 0 and failed is None:
            failed = x
    return failed


class _Gaps:
    """The free bytes of a memory."""

    def __init__(self, size: int):
        self._by_size = [(size, 0)]
        self._starts = [0]
        self._sizes = {0: size}

    def take(self, size: int) -> int:
        """The address of the first of the smallest gaps that fit; -1 where none does."""
        i = bisect_left(self._by_size, (size, 0))
        if i == len(self._by_size):
            return -1
        found, at = self._by_size[i]
        self._remove(at)
        if found > size:
            self._add(at + size, found - size)
        return at

    def give(self, at: int, size: int) -> None:
        """Frees bytes again."""
        i = bisect_left(self._starts, at)
        after = self._starts[i] if i < len(self._starts) else -1
        before = self._starts[i - 1] if i else -1
        if at + size == after:
            size += self._sizes[after]
            self._remove(after)
        if i and before + self._sizes[before] == at:
            size += self._sizes[before]
            self._remove(before)
            at = before
        self._add(at, size)

    def _add(self, at: int, size: int) -> None:
        insort(self._by_size, (size, at))
        insort(self._starts, at)
        self._sizes[at] = size

    def _remove(self, at: int) -> None:
        size = self._sizes.pop(at)
        del self._by_size[bisect_left(self._by_size, (size, at))]
        del self._starts[bisect_left(self._starts, at)]


@dataclass(slots=True)
class _Placement:
    """What an order of placing leads to.

    ``culprit`` is the place in the order of what ends highest; where there is a limit, what ended beyond it was placed last.
    """

    order: list[int]
    addresses: list[int]
    peak: int
    culprit: int


class _Problem:
    """The buffers as numbers: sizes in whole units of the alignment, and who lives at the same time as whom."""

    def __init__(self, items: list[Lifetime], alignment: int):
        self.sizes = [_up(x.buffer.size, alignment) for x in items]
        self.together: list[list[int]] = [[] for _ in items]
        live: list[int] = []
        for i in sorted(range(len(items)), key=lambda i: items[i].first):
            live = [j for j in live if items[j].last >= items[i].first]
            for j in live:
                self.together[i].append(j)
                self.together[j].append(i)
            live.append(i)
        self.pairs = sum(map(len, self.together)) + len(items)

    def place(self, order: list[int], limit: int | None) -> _Placement:
        """Places one after the other; stops at the first that ends beyond ``limit``."""
        addresses = [-1] * len(order)
        sizes = self.sizes
        peak = culprit = 0
        for n, i in enumerate(order):
            size = sizes[i]
            taken = sorted(
                (addresses[j], addresses[j] + sizes[j]) for j in self.together[i] if addresses[j] >= 0
            )
            best = gap = at = 0
            for start, end in taken:
                if start - at >= size and (not gap or start - at < gap):
                    best, gap = at, start - at
                at = max(at, end)
            if not gap:
                best = at
            addresses[i] = best
            if best + size > peak:
                peak, culprit = best + size, n
                if limit is not None and peak > limit:
                    break
        return _Placement(order, addresses, peak, culprit)

    def improve(self, best: _Placement, bound: int, effort: int) -> _Placement:
        """Tries orders in which what ended too high comes earlier, until the peak is ``bound`` or the steps are used up.

        The numbers behind the choices are the same in every run.
        """
        chance = random.Random(0).random
        together = [set(others) for others in self.together]
        current = best
        for _ in range(effort // self.pairs):
            order = list(current.order)
            i = order.pop(current.culprit)
            rivals = [n for n, j in enumerate(order[: current.culprit]) if j in together[i]]
            if not rivals:
                break
            order.insert(rivals[int(chance() * len(rivals))], i)
            current = self.place(order, best.peak - 1)
            if current.peak < best.peak:
                best = current
                if best.peak == bound:
                    break
        return best


def _up(size: int, alignment: int) -> int:
    return -(-size // alignment) * alignment


def peak_bytes(lifetimes: list[Lifetime], alignment: int = ALIGNMENT) -> tuple[int, int]:
    """The most bytes that live at one time, each buffer's in whole units of ``alignment``, and the command at which they do.

    No allocation can need less.
    """
    change: dict[int, int] = {}
    for x in lifetimes:
        size = _up(x.buffer.size, alignment)
        change[x.first] = change.get(x.first, 0) + size
        change[x.last + 1] = change.get(x.last + 1, 0) - size
    live = peak = where = 0
    for at in sorted(change):
        live += change[at]
        if live > peak:
            peak, where = live, at
    return peak, where
