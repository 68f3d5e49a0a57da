"""The schedule of the NPU's clusters: candidates, and of them the one that takes the least simulated time.

Level 0 takes the first that fits.  From level 1 on loads are placed ahead, and where tensors do not fit SRAM cascades are
tried.  The number of candidates is bounded, and nothing but the program and the target decides between them.
"""

from __future__ import annotations

from furiosa.compiler.cdfg.cluster import Cluster
from furiosa.compiler.dfg.graph import Tensor
from furiosa.compiler.errors import OutOfSram
from furiosa.compiler.gir.cascade import Cascade
from furiosa.compiler.gir.constants import ConstantPool
from furiosa.compiler.gir.fit import Fit
from furiosa.compiler.gir.groups import in_sram, through_dram
from furiosa.compiler.gir.residents import Residents, choose, spare
from furiosa.compiler.gir.storage import Storage
from furiosa.compiler.gir.tile import Buffer
from furiosa.compiler.gir.tiler import Tiler
from furiosa.compiler.lir.allocate import peak_bytes
from furiosa.compiler.lir.linear import Linearizer
from furiosa.compiler.lir.prefetch import ahead
from furiosa.compiler.lir.segment import Segment, order, placed, spill
from furiosa.enf import timing
from furiosa.enf.isa import Space
from furiosa.enf.target import Target

LEVELS = (0, 1, 2)
_CASCADES = (0, 3, 4)  # choices of cascades in SRAM that are simulated, by level
_ROOM = (
    63 / 64,
    7 / 8,
)  # of SRAM for cascades, the rest for holes between buffers; the second where the first does not do


def schedule(
    clusters: list[Cluster], target: Target, pool: ConstantPool, dram: dict[Tensor, Buffer], level: int
) -> tuple[Residents, dict[Cluster, Segment]]:
    """The constants that stay in SRAM, and the segment of each NPU cluster.

    Raises:
        OutOfSram: an operator does not fit in any way.
    """
    budget = spare(clusters, target)
    while True:
        residents = choose(clusters, target, pool, budget)
        tilers = {c: Tiler(c, target, pool, dram, residents, compares=level > 0) for c in clusters}
        segments = {c: spill(tiler) for c, tiler in tilers.items()}
        if not residents.nbytes or not any(s.spilled for s in segments.values()):
            break
        budget = budget // 2 if budget > target.sram_bytes // 16 else 0
    if level:
        segments = {c: _improve(tiler, segments[c], level) for c, tiler in tilers.items()}
    return residents, segments


def _improve(tiler: Tiler, first: Segment, level: int) -> Segment:
    """The segment of least simulated time among ``first``, the same with loads ahead, and those with cascades."""
    found = [first]
    spilled = tiler.spilled
    if first.spilled:
        for share in _ROOM:
            fit = Fit(tiler, int(tiler.capacity * share))
            for choice, _ in zip(in_sram(fit), range(_CASCADES[level])):
                found += _try(tiler, *choice)
            if (len(found) == 1 or level > 1) and (choice := through_dram(fit, spilled)):
                found += _try(tiler, *choice)
            if len(found) > 1 and level < 2:
                break
    if any(w.operands and w.operands[0].buffer.space != Space.SRAM for w in first.works):
        found += _try(tiler, spilled, [])
    return min(found, key=lambda s: simulate(s, tiler)) if len(found) > 1 else first


def _try(tiler: Tiler, spilled: set[Storage], cascades: list[Cascade]) -> list[Segment]:
    """The segment with the given tensors in DRAM and operators in parts, loads as far ahead as SRAM allows, if it fits."""
    try:
        stages = tiler.tile(spilled, cascades)
    except OutOfSram:
        return []
    fallback: list[Segment] = []
    for share in (16, 15, 14):
        works = ahead(stages, tiler.target, tiler.capacity * share // 16)
        segment = placed(tiler, works)
        if segment:
            if segment.sram_peak == peak_bytes(segment.lifetimes)[0]:
                return [segment]
            fallback = fallback or [segment]
    if not fallback and (segment := placed(tiler, order(stages))):
        fallback = [segment]
    return fallback


def simulate(segment: Segment, tiler: Tiler) -> int:
    """Clock cycles of a segment alone."""
    linearizer = Linearizer(tiler.target)
    linearizer.setup(tiler.residents)
    step = linearizer.segment(segment)
    return (
        max(s.end for s in timing.schedule(linearizer.linear.commands, [step], tiler.target))
        if step[1]
        else 0
    )
