"""Addresses for buffers whose lifetimes are known: largest first, each at the lowest place that is free for all its life."""

from __future__ import annotations

from dataclasses import dataclass

from furiosa.compiler.gir.tile import Buffer


@dataclass(slots=True, eq=False)
class Lifetime:
    """A buffer that lives from command ``first`` to command ``last``, both inclusive; ``address`` is the answer."""

    buffer: Buffer
    first: int
    last: int
    address: int = -1


def allocate(lifetimes: list[Lifetime], capacity: int, alignment: int) -> Lifetime | None:
    """Gives every lifetime an address below ``capacity`` bytes; returns the first that found no place, else None."""
    order = sorted(lifetimes, key=lambda x: (-x.buffer.size, x.first, x.last, x.buffer.name))
    placed: list[Lifetime] = []
    for item in order:
        size = item.buffer.size
        taken = sorted(
            (p.address, p.address + p.buffer.size)
            for p in placed
            if p.first <= item.last and item.first <= p.last
        )
        best = None
        at = 0
        for start, end in taken:
            if start - at >= size and (best is None or start - at < best[0]):
                best = (start - at, at)
            at = max(at, -(-end // alignment) * alignment)
        if best is None:
            if at + size > capacity:
                return item
            best = (0, at)
        item.address = best[1]
        placed.append(item)
    return None


def peak_bytes(lifetimes: list[Lifetime]) -> tuple[int, int]:
    """The most bytes that live at one time, and the command at which they do: no allocation can need less."""
    change: dict[int, int] = {}
    for x in lifetimes:
        change[x.first] = change.get(x.first, 0) + x.buffer.size
        change[x.last + 1] = change.get(x.last + 1, 0) - x.buffer.size
    live = peak = where = 0
    for at in sorted(change):
        live += change[at]
        if live > peak:
            peak, where = live, at
    return peak, where
