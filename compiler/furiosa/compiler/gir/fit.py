"""What a cascade would need of SRAM and take of time, by looking at one of its parts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from furiosa.compiler.gir.cascade import Cascade, Part, Runner, inner, possible, streamed
from furiosa.compiler.gir.storage import Storage, live_bytes
from furiosa.compiler.gir.tile import whole
from furiosa.compiler.gir.work import form_cycles
from furiosa.enf import timing

if TYPE_CHECKING:
    from furiosa.compiler.gir.tiler import Tiler

_FACTORS = (1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 24, 32, 48, 64)
_MAX_SAMPLES = 64
_MAX_STEPS = 4096  # operators times parts of a cascade
_EFFORT = 1 << 16  # operators and tensors that are looked at for answers: some seconds at most


class Fit:
    """Questions about the operators ``first`` to ``last`` of one cluster, with ``room`` bytes of SRAM for them."""

    def __init__(self, tiler: Tiler, room: int):
        self.tiler, self.room = tiler, room
        self.storages = list(dict.fromkeys(tiler.storage.values()))
        self.count = len(tiler.cluster.operators)
        self._touched = [
            {tiler.storage[t] for t in (*op.inputs, op.outputs[0]) if t is not None and not t.is_constant}
            for op in tiler.cluster.operators
        ]
        self.per_byte = tiler.target.clock_hz / tiler.target.dram_bytes_per_s  # cycles
        self._cycles: dict[int, int] = {}
        self._parts: dict[tuple[Cascade, frozenset[Storage]], Part] = {}
        self._left = _EFFORT

    @property
    def is_exhausted(self) -> bool:
        """Whether so much has been asked of a large program that from now on no cascade is found to fit."""
        return self._left <= 0

    def touched(self, first: int, last: int) -> set[Storage]:
        """The tensors that the operators read and make."""
        return set().union(*self._touched[first : last + 1])

    def fewest_parts(self, first: int, last: int, spilled: set[Storage], most: int = _MAX_STEPS) -> int:
        """The fewest parts, at most so many, in which the operators fit as a cascade; 0 where none do."""
        if self.is_exhausted or not possible(self.tiler, first, last):
            return 0
        self._left -= 1 + len(self.storages) // 8
        cascade = Cascade(first, last, 1)
        tiles = inner(self.tiler, cascade) | streamed(self.tiler, cascade) | spilled
        used = [s for s in self.storages if s.first <= last and s.last >= first]
        room = self.room - sum(s.size for s in used if s not in tiles) - self._constants(first, last)
        if room <= 0:
            return 0
        live = live_bytes([s for s in used if s in tiles], first, last)
        least = max(-(-max(live) // room), 2)  # tiles are no smaller than their share
        most = min(most, _MAX_STEPS // (last - first + 1))
        for parts in self._choices(last):
            if self.is_exhausted:
                break
            if least <= parts <= most and self._tiles(Cascade(first, last, parts), spilled) <= room:
                return parts
        return 0

    def is_whole(self, first: int, last: int, spilled: set[Storage]) -> bool:
        """Whether the operators run one by one, with all tensors that they touch whole in SRAM."""
        if not spilled.isdisjoint(self.touched(first, last)):
            return False
        live = live_bytes((s for s in self.storages if s not in spilled), first, last)
        return all(
            size + self._constants(place, place) <= self.room for place, size in enumerate(live, first)
        )

    def bands(self, place: int, spilled: set[Storage]) -> int:
        """About how many bands an operator needs for its tensors and constants in DRAM; 0 where there is hardly room for any."""
        op = self.tiler.cluster.operators[place]
        used = [s for s in self.storages if s.first <= place <= s.last]
        room = self.room - sum(s.size for s in used if s not in spilled)
        size = sum(s.size for s in self._touched[place] if s in spilled)
        if self.tiler.loads_whole(op):
            room -= self._constants(place, place)
        else:
            size += self.tiler.streamed_bytes(op)
        return -(-3 * size // room) if room >= self.room // 16 else 0

    def _constants(self, first: int, last: int) -> int:
        """Bytes of the constants that are loaded for the operators, with those that come in the same transfers."""
        return sum(batch.nbytes for batch in dict.fromkeys(self.tiler.batches[first : last + 1]))

    def crowded(self) -> list[tuple[int, int]]:
        """Runs of operators (first, last) for which there is not room for all tensors."""
        live = live_bytes(self.storages, 0, self.count - 1)
        out: list[tuple[int, int]] = []
        for i, size in enumerate(live):
            if size + self._constants(i, i) > self.room:
                if out and out[-1][1] == i - 1:
                    out[-1] = (out[-1][0], i)
                else:
                    out.append((i, i))
        return out

    def cascade_cycles(self, cascade: Cascade, spilled: set[Storage]) -> float:
        """Cycles of the PE for a cascade, with what its parts compute twice."""
        part = self._part(cascade, spilled)
        made = {step.place: self.tiler.storage[step.form.output] for step in part.steps}
        total = 0.0
        for place, s in made.items():
            starts = self.starts(place)
            share = max((part.spans[s][1] - part.spans[s][0]) * cascade.parts / s.size, 1.0)
            total += (self.cycles(place) - starts) * share + starts * cascade.parts
        return total

    def starts(self, place: int) -> int:
        """Of these cycles those before the operator's commands begin their work."""
        return timing.overhead_cycles(self.tiler.target) * len(self.tiler.forms[place])

    def cycles(self, place: int) -> int:
        """Cycles of the PE for an operator that is not cut."""
        if place not in self._cycles:
            op = self.tiler.cluster.operators[place]
            forms = self.tiler.forms[place]
            self._cycles[place] = sum(
                form_cycles(form, op, self.tiler.target, whole(form.shape)) for form in forms
            )
        return self._cycles[place]

    def _choices(self, last: int) -> list[int]:
        """Numbers of parts: those that divide the samples, then several parts a sample."""
        y = self.tiler.cluster.operators[last].outputs[0]
        samples = y.shape[0] if y.shape and 1 < y.shape[0] <= _MAX_SAMPLES else 1
        return sorted({d for d in range(2, samples) if samples % d == 0} | {samples * f for f in _FACTORS})

    def _tiles(self, cascade: Cascade, spilled: set[Storage]) -> int:
        """The most bytes of tiles that live at one time, with the next part's input on its way."""
        part = self._part(cascade, spilled)
        first: dict[Storage, int] = {}
        last: dict[Storage, int] = {}
        coming = 0
        for n, step in enumerate(part.steps):
            y = step.form.output
            for t in (*(r.tensor for r in step.reads if not r.tensor.is_constant), y):
                s = self.tiler.storage[t]
                if s in part.tiles:
                    if s not in first and t is not y:
                        coming += part.size(s)
                    first.setdefault(s, n)
                    last[s] = n
        live = [0] * (len(part.steps) + 1)
        for s, n in first.items():
            for i in range(n, last[s] + 1):
                live[i] += part.size(s)
        return max(live) + coming

    def _part(self, cascade: Cascade, spilled: set[Storage]) -> Part:
        key = cascade, frozenset(spilled & self.touched(cascade.first, cascade.last))
        if key not in self._parts:
            self._left -= cascade.last - cascade.first + 1
            self.tiler.begin(spilled)
            self._parts[key] = Runner(self.tiler, cascade).part_in_the_middle()
        return self._parts[key]
