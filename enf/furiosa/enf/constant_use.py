"""Which operator uses how many bytes of the constants, whichever command brought them to SRAM."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import TYPE_CHECKING

from furiosa.enf.machine import Engine, Region, Space

if TYPE_CHECKING:
    from furiosa.enf.reader import Enf


def constant_bytes(enf: Enf) -> dict[int, int]:
    """Bytes of constants by operator (index into the debug map) of the commands that compute with them.

    What several operators read counts for the first of them, what nothing computes with for none.  Empty without a debug map.
    """
    totals: dict[int, int] = {}
    seen: set[tuple[int, int]] = set()
    loaded = _Loaded()
    for command, operator in zip(enf.commands, enf.debug.command_operator):
        *sources, result = command.operands
        if command.engine == Engine.PE:
            for region in sources:
                place = loaded.place(region)
                if place is not None and (key := (place, region.extent)) not in seen:
                    seen.add(key)
                    totals[operator] = totals.get(operator, 0) + region.nbytes
        if result.space == Space.SRAM:
            source = sources[0].address if _loads_constants(command.engine, sources) else None
            loaded.write(result, source)
    return totals


def _loads_constants(engine: int, sources: list[Region]) -> bool:
    return engine == Engine.LOAD and sources[0].space == Space.CONST


class _Loaded:
    """Where constants lie in SRAM: disjoint spans [start, end) by address, each with its place among the constants."""

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._spans: list[tuple[int, int]] = []  # (end, place)

    def place(self, region: Region) -> int | None:
        """Where among the constants a region lies that was loaded; None for anything else."""
        if region.space != Space.SRAM:
            return None
        i = bisect_right(self._starts, region.address) - 1
        if i < 0 or region.address + region.extent > self._spans[i][0]:
            return None
        return self._spans[i][1] + region.address - self._starts[i]

    def write(self, region: Region, place: int | None) -> None:
        """Something takes the bytes of a region: constants from a place on, or something else (None)."""
        first = bisect_right(self._starts, region.address) - 1
        if first < 0 or self._spans[first][0] <= region.address:
            first += 1
        after = bisect_left(self._starts, region.address + region.extent)
        own = [] if place is None else [(region.address, (region.address + region.extent, place))]
        self._starts[first:after] = [start for start, _ in own]
        self._spans[first:after] = [span for _, span in own]
