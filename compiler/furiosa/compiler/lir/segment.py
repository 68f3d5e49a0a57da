"""The work of one NPU cluster in order, with addresses in SRAM."""

from __future__ import annotations

from dataclasses import dataclass

from furiosa.compiler.dfg.graph import Tensor
from furiosa.compiler.errors import OutOfSram
from furiosa.compiler.gir.memory import Piece
from furiosa.compiler.gir.pressure import Pressure
from furiosa.compiler.gir.storage import Storage
from furiosa.compiler.gir.tile import ALIGNMENT, Buffer, Stage, Work
from furiosa.compiler.gir.tiler import Tiler
from furiosa.compiler.lir.allocate import Lifetime, allocate, peak_bytes
from furiosa.enf.isa import Engine, Space

# operators that are tiled before, in a large program, each round sends twice as many tensors to DRAM as the one before
_EFFORT = 1 << 15


@dataclass(slots=True)
class Segment:
    """The commands of one NPU cluster, its buffers in SRAM, and how many bytes of SRAM they take.

    ``homes`` gives for each tensor the buffers that have it, piece by piece; so many tensors were ``spilled`` to DRAM.
    """

    works: list[Work]
    lifetimes: list[Lifetime]
    scratch: list[Buffer]
    sram_peak: int
    homes: dict[Tensor, list[Piece]]
    spilled: int = 0


def order(stages: list[Stage]) -> list[Work]:
    """One list of all work; a stage's loads go ahead of the previous stage's computation where nothing forbids it."""
    works: list[Work] = []
    previous: list[Work] = []  # computes and stores of the stage before, not yet emitted
    for stage in stages:
        touched = {v.buffer for w in previous for v in w.operands if v.buffer.space == Space.SRAM}
        stored = {w.operands[-1].buffer for w in previous if w.engine == Engine.STORE}
        late = []
        for load in stage.loads:
            if load.operands[0].buffer in stored or load.operands[1].buffer in touched or late:
                late.append(load)
            else:
                works.append(load)
        works += previous
        works += late
        previous = stage.computes + stage.stores
    return works + previous


def lifetimes(works: list[Work]) -> list[Lifetime]:
    """From which to which work each buffer in SRAM is needed; residents always are."""
    out: dict[Buffer, Lifetime] = {}
    for i, w in enumerate(works):
        for view in w.operands:
            if view.buffer.space == Space.SRAM and not view.buffer.is_resident:
                if view.buffer in out:
                    out[view.buffer].last = i
                else:
                    out[view.buffer] = Lifetime(view.buffer, i, i)
    return list(out.values())


def placed(tiler: Tiler, works: list[Work]) -> Segment | None:
    """The segment of what a tiler has made, in an order of its own; None where it does not fit."""
    lives = lifetimes(works)
    return None if allocate(lives, tiler.capacity, ALIGNMENT) else _segment(tiler, works, lives)


def _segment(tiler: Tiler, works: list[Work], lives: list[Lifetime]) -> Segment:
    peak = max((x.end(ALIGNMENT) for x in lives), default=0)
    return Segment(works, lives, tiler.scratch, peak, tiler.homes(), len(tiler.spilled))


def spill(tiler: Tiler) -> Segment:
    """Tiles a cluster and finds addresses beside the residents, sending tensors to DRAM until everything fits.

    Raises:
        OutOfSram: an operator does not fit in any way.
    """
    operators, target = tiler.cluster.operators, tiler.target
    pressure = Pressure(dict.fromkeys(tiler.storage.values()), len(operators))
    spilled: set[Storage] = set()
    places = {op: i for i, op in enumerate(operators)}
    tiled, victims = 0, 1
    while True:
        crowded, nbytes = pressure.worst()
        if nbytes <= tiler.capacity:
            tiled += len(operators)
            if tiled > _EFFORT:
                victims *= 2
            try:
                works = order(tiler.tile(spilled))
            except OutOfSram:
                if pressure.largest(crowded) is None:
                    raise
            else:
                lives = lifetimes(works)
                failed = allocate(lives, tiler.capacity, ALIGNMENT)
                if failed is None:
                    return _segment(tiler, works, lives)
                _, at = peak_bytes(lives)
                crowded = places[works[at].operator]
                if pressure.largest(crowded) is None:
                    crowded = places[works[failed.first].operator]
        victim = pressure.largest(crowded)
        if victim is None:
            op = operators[crowded]
            raise OutOfSram(
                f"operator '{op.name}' ({op.op_type}) does not fit the {target.sram_bytes} bytes of SRAM of "
                f"{target.name}: use a smaller batch or smaller tensors"
            )
        for _ in range(victims):
            if victim is None:
                break
            spilled.add(victim)
            pressure.spill(victim)
            victim = pressure.largest(pressure.worst()[0])
