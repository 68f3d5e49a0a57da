"""The schedule of the NPU's clusters: candidates, and of them the one that costs the least by the timing model.

Level 0 takes the first that fits.  From level 1 on loads are placed ahead, and where tensors do not fit SRAM cascades are
tried.  The number of candidates is bounded, and nothing but the program and the target decides between them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from furiosa.compiler.cdfg.cluster import Cluster
from furiosa.compiler.dfg.graph import Tensor
from furiosa.compiler.errors import OutOfSram
from furiosa.compiler.gir.constants import ConstantPool
from furiosa.compiler.gir.fit import Fit
from furiosa.compiler.gir.groups import Choice, at_the_ends, in_sram, through_dram
from furiosa.compiler.gir.residents import Residents, choose, spare
from furiosa.compiler.gir.tile import Buffer
from furiosa.compiler.gir.tiler import Tiler
from furiosa.compiler.limits import TooLarge
from furiosa.compiler.lir.allocate import peak_bytes
from furiosa.compiler.lir.linear import Linearizer
from furiosa.compiler.lir.prefetch import ahead
from furiosa.compiler.lir.segment import Segment, order, placed, spill
from furiosa.enf import timing
from furiosa.enf.isa import Engine, Space
from furiosa.enf.target import Target

LEVELS = (0, 1, 2)
_CASCADES = (0, 3, 4)  # choices of cascades in SRAM that are simulated, by level
# for loads ahead: sixteenths of SRAM, and whether stores are late
_AHEAD = ((16, True), (15, True), (15, False), (14, False))
# of SRAM for cascades, the rest for holes between buffers; the second where the first does not do
_ROOM = (63 / 64, 7 / 8)
_SHARED = 1 / 4  # of a transfer's time that counts even where work hides it: others want the DRAM too


def schedule(
    clusters: list[Cluster],
    target: Target,
    pool: ConstantPool,
    dram: dict[Tensor, Buffer],
    level: int,
    tell: Callable[[str], None] = lambda detail: None,
) -> tuple[Residents, dict[Cluster, Segment]]:
    """The constants that stay in SRAM, and the segment of each NPU cluster; ``tell`` hears how far it is.

    Raises:
        OutOfSram: an operator does not fit in any way.
    """
    budget = spare(clusters, target)
    while True:
        residents = choose(clusters, target, pool, budget)
        tilers = {c: Tiler(c, target, pool, dram, residents, compares=level > 0) for c in clusters}
        segments = {}
        for i, (c, tiler) in enumerate(tilers.items()):
            tell(f"what fits into SRAM, cluster {i + 1} of {len(clusters)}")
            segments[c] = spill(tiler)
        if not residents.nbytes or not any(s.spilled for s in segments.values()):
            break
        budget = budget // 2 if budget > target.sram_bytes // 16 else 0
    if level:
        for i, (c, tiler) in enumerate(tilers.items()):
            tell(f"schedules, cluster {i + 1} of {len(clusters)}")
            segments[c] = _improve(tiler, segments[c], level)
    return residents, segments


class _Candidate(NamedTuple):
    """A segment, what it was made of, and what it costs in cycles."""

    cost: float
    segment: Segment
    choice: Choice


def _improve(tiler: Tiler, first: Segment, level: int) -> Segment:
    """The segment of least cost among ``first``, the same with loads ahead, and those with cascades."""
    if all(w.operands[0].buffer.space == Space.SRAM for w in first.works):
        return first
    plain: Choice = tiler.spilled, []
    found: list[_Candidate] = []
    if first.spilled:
        for share in _ROOM:
            fit = Fit(tiler, int(tiler.capacity * share))
            for choice, _ in zip(in_sram(fit), range(_CASCADES[level])):
                found += _try(tiler, choice, level)
            if choice := through_dram(fit, plain[0]):
                found += _try(tiler, choice, level)
            if found and level < 2:
                break
    found += _try(tiler, plain, level)
    best = min([_Candidate(_cost(first, tiler), first, plain), *found], key=lambda x: x.cost)
    spilled, cascades = best.choice
    if ends := at_the_ends(Fit(tiler, tiler.capacity), best.choice):
        choice = spilled, sorted([*cascades, *ends])
        best = min([best, *_try(tiler, choice, level)], key=lambda x: x.cost)
    return best.segment


def _try(tiler: Tiler, choice: Choice, level: int) -> list[_Candidate]:
    """A choice of tensors in DRAM and cascades, with loads as far ahead as SRAM allows; none if it does not fit."""
    try:
        stages = tiler.tile(*choice)
    except (OutOfSram, TooLarge):
        return []
    out = []
    for share, late in _AHEAD:
        works = ahead(stages, tiler.target, tiler.capacity * share // 16, late=late)
        segment = placed(tiler, works)
        if segment and segment.sram_peak == peak_bytes(segment.lifetimes)[0]:
            out.append(_Candidate(_cost(segment, tiler), segment, choice))
            if level < 2:
                break
    if not out and (segment := placed(tiler, order(stages))):
        out.append(_Candidate(_cost(segment, tiler), segment, choice))
    return out


def _cost(segment: Segment, tiler: Tiler) -> float:
    """Simulated cycles of a segment alone, and something for its transfers."""
    linearizer = Linearizer(tiler.target)
    buffers = dict.fromkeys(v.buffer for w in segment.works for v in w.operands if v.buffer.is_resident)
    linearizer.setup(tiler.residents.load[b] for b in buffers)
    first, count = linearizer.segment(segment)
    commands = linearizer.linear.commands
    spans = timing.schedule(commands, [(first, count)], tiler.target)
    moved = sum(timing.dma_cycles(c, tiler.target) for c in commands[first:] if c.engine != Engine.PE)
    return max((s.end for s in spans), default=0) + moved * _SHARED
