"""Addresses for buffers whose lifetimes are known.

Finding the least memory is NP-hard.  Largest first, each at the lowest gap that fits it best, meets the lower bound on most
programs; where it does not, the order of placing is improved for a bounded number of steps.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from furiosa.compiler.gir.tile import ALIGNMENT, Buffer

_EFFORT = 1 << 20  # pairs of buffers that the improvement may look at: well below a second


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
    """Gives every lifetime an address below ``capacity`` bytes; returns the first that found no place, else None.

    The addresses depend on nothing but the lifetimes in their order, their sizes and the arguments.
    """
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
