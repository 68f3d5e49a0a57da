"""Where cascades are worth it: around operators at which SRAM cannot hold all tensors."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import accumulate

from furiosa.compiler.gir.cascade import Cascade, possible, streamed
from furiosa.compiler.gir.fit import Fit
from furiosa.compiler.gir.storage import Storage
from furiosa.enf import timing

_REACH = 16  # operators that a cascade may begin before, or end behind, those that are crowded
_TRIES = 64  # cascades that are looked at for one crowded place
_CHOICES = 4  # of which so many are kept
_SPAN = 8  # cuts that one cascade may go over
_EXPOSED = 1 / 4  # of transfers that run beside the PE's work, or work beside transfers, what is waited for
_MOST_AT_AN_END = 8  # operators in a cascade of the first or the last ones, and their parts
_LONGEST = 1024  # operators of a crowded run that is cut
_MARGIN = 4  # operators beside crowded ones that are looked at with them

Choice = tuple[set[Storage], list[Cascade]]  # tensors in DRAM, and what runs part by part


def in_sram(fit: Fit) -> Iterator[Choice]:
    """Choices in which every tensor between cascades stays in SRAM, the most promising first."""
    options = [_around(fit, *region) for region in fit.crowded()]
    if not all(options):
        return
    for rank in range(max(map(len, options), default=0)):
        chosen: list[Cascade] = []
        for own in options:
            candidate = own[min(rank, len(own) - 1)]
            if chosen and candidate.first <= chosen[-1].last:
                if candidate.last <= chosen[-1].last:
                    continue
                break
            chosen.append(candidate)
        else:
            yield set(), chosen


def _around(fit: Fit, first: int, last: int) -> list[Cascade]:
    """Cascades that have the given operators, best first: those of the fewest commands."""
    pairs = [
        (b - a + 1, a, b)
        for a in range(max(first - _REACH, 0), first + 1)
        for b in range(last, min(last + _REACH + 1, fit.count))
    ]
    found: list[tuple[int, int, Cascade]] = []
    for length, a, b in sorted(pairs)[:_TRIES]:
        most = found[_CHOICES - 1][0] // length if len(found) >= _CHOICES else length << 10
        if most < 2:
            break
        parts = fit.fewest_parts(a, b, set(), most)
        if parts:
            found.append((parts * length, a, Cascade(a, b, parts)))
            found.sort()
    return [x[-1] for x in found[:_CHOICES]]


def through_dram(fit: Fit, otherwise: set[Storage]) -> Choice | None:
    """Cuts every crowded run of operators into cascades, so that they and what crosses the cuts through DRAM take the least time.

    Where that is not possible, the tensors in ``otherwise`` go to DRAM.
    """
    spilled: set[Storage] = set()
    chosen: list[Cascade] = []
    for first, last in _regions(fit):
        found = _Cuts(fit, first, last).best() if last - first < _LONGEST else None
        if found:
            spilled |= found[0]
            chosen += found[1]
        else:
            spilled |= {s for s in otherwise if s.first <= last and s.last >= first}
    return (spilled, sorted(chosen)) if chosen else None


def at_the_ends(fit: Fit, choice: Choice) -> list[Cascade]:
    """Cascades of the first and of the last operators that let their work run beside the transfer of input and output."""
    spilled, cascades = choice
    inside = {place for c in cascades for place in range(c.first, c.last + 1)}
    out: list[Cascade] = []
    for from_end in (False, True):
        best: tuple[float, Cascade] | None = None
        for length in range(1, min(_MOST_AT_AN_END, fit.count) + 1):
            first, last = (fit.count - length, fit.count - 1) if from_end else (0, length - 1)
            if not inside.isdisjoint(range(first, last + 1)) or not possible(fit.tiler, first, last):
                continue
            outside = streamed(fit.tiler, Cascade(first, last, 1)) - spilled
            transfer = sum(s.size for s in outside) * fit.per_byte
            starts = sum(map(fit.starts, range(first, last + 1)))
            work = sum(map(fit.cycles, range(first, last + 1))) - starts
            for parts in range(2, _MOST_AT_AN_END + 1):
                gain = (parts - 1) * (min(transfer, work) / parts - starts)
                if gain > (best[0] if best else 0):
                    best = gain, Cascade(first, last, parts)
        if best:
            out.append(best[1])
            inside.update(range(best[1].first, best[1].last + 1))
    return out


def _regions(fit: Fit) -> list[tuple[int, int]]:
    """The crowded runs with their neighbours, joined where they touch."""
    out: list[tuple[int, int]] = []
    for first, last in fit.crowded():
        first, last = max(first - _MARGIN, 0), min(last + _MARGIN, fit.count - 1)
        if out and first <= out[-1][1] + 1:
            out[-1] = (out[-1][0], last)
        else:
            out.append((first, last))
    return out


class _Cuts:
    """The cheapest way through the operators from ``first`` to ``last``, from cut to cut.

    What crosses a cut stays in SRAM or goes through DRAM; what comes from or goes outside lies there anyway.
    """

    def __init__(self, fit: Fit, first: int, last: int):
        self._fit = fit
        here = [s for s in fit.storages if s.first <= last and s.last >= first]
        self._outside = {s for s in here if any(t in fit.tiler.dram for t in s.tensors)}
        crossing = {m: {s for s in here if s.first < m <= s.last} for m in range(first, last + 2)}
        sizes = {m: sum(s.size for s in crossing[m]) for m in crossing}
        sizes[first] = sizes[last + 1] = 1 << 62
        inside = [m for m in range(first + 1, last + 1) if sizes[m] <= min(sizes[m - 1], sizes[m + 1])]
        self._places = [first, *inside, last + 1]
        self._crossing = crossing

    def best(self) -> Choice | None:
        places = self._places
        begin, end = (places[0], False), (places[-1], False)
        # for each cut, in SRAM or through DRAM: the cost up to it, where its last step begins, and that step's parts
        ways: dict[tuple[int, bool], tuple[float, tuple[int, bool], int]] = {begin: (0.0, begin, 0)}
        alone = [0, *accumulate(self._fit.cycles(place) for place in range(places[0], places[-1]))]
        for n, place in enumerate(places[1:], 1):
            for is_spilled in (False, True) if place != end[0] else (False,):
                best = math.inf
                for before in reversed(places[max(n - _SPAN, 0) : n]):
                    least = alone[place - places[0]] - alone[before - places[0]]
                    for was_spilled in (False, True):
                        way = ways.get((before, was_spilled))
                        if way is None or way[0] + least >= best:
                            continue
                        step = self._step(before, place - 1, was_spilled, is_spilled)
                        if step and way[0] + step[0] < best:
                            best = way[0] + step[0]
                            ways[place, is_spilled] = best, (before, was_spilled), step[1]
        if end not in ways:
            return None
        spilled: set[Storage] = set(self._outside)
        cascades: list[Cascade] = []
        while end != begin:
            _, before, parts = ways[end]
            if end[1]:
                spilled |= self._crossing[end[0]]
            if parts:
                cascades.append(Cascade(before[0], end[0] - 1, parts))
            end = before
        return spilled, cascades

    def _step(self, first: int, last: int, was_spilled: bool, is_spilled: bool) -> tuple[float, int] | None:
        """Cycles of some operators and the parts that they run in, 0 where each runs alone; None where they do not fit."""
        fit = self._fit
        if fit.is_exhausted:
            return None
        spilled = set(self._outside)
        if was_spilled:
            spilled |= self._crossing[first]
        if is_spilled:
            spilled |= self._crossing[last + 1]
        dma = sum(s.size for s in fit.touched(first, last) if s in spilled) * self._fit.per_byte
        alone = sum(fit.cycles(place) for place in range(first, last + 1))
        if fit.is_whole(first, last, spilled):
            return _together(dma, alone), 0
        if first == last and (bands := fit.bands(first, spilled)):
            return _together(dma, alone + (bands - 1) * timing.overhead_cycles(fit.tiler.target)), 0
        parts = fit.fewest_parts(first, last, spilled)
        if not parts:
            return None
        return _together(dma, fit.cascade_cycles(Cascade(first, last, parts), spilled)), parts


def _together(dma: float, work: float) -> float:
    """Cycles of transfers and work side by side: the ends of the shorter are not hidden by the longer."""
    return max(dma, work) + min(dma, work) * _EXPOSED
