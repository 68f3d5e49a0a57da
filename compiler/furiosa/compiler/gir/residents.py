"""Which constants stay in SRAM from run to run: setup brings them there once, and no run pays for them again.

Tensors go before constants: a tensor that does not fit is stored and loaded again, a constant only loaded.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from furiosa.compiler.cdfg.cluster import Cluster
from furiosa.compiler.dfg.graph import Operator, Tensor
from furiosa.compiler.gir.constants import ConstantPool
from furiosa.compiler.gir.storage import constant_bytes, constants, live_bytes, storages
from furiosa.compiler.gir.tile import ALIGNMENT, Buffer, Holder, Work
from furiosa.compiler.gir.work import transfer
from furiosa.enf.dtypes import ITEMSIZE
from furiosa.enf.isa import Engine, Space
from furiosa.enf.target import Target

STREAM = 1 << 19  # bytes of constants that are on their way beyond those of two operators
_STEPS = 32  # budgets that are tried


@dataclass(slots=True)
class Residents:
    """Constants in SRAM, from address 0 on: ``load`` has what loads each buffer; ``nbytes`` is where the rest begins."""

    load: dict[Buffer, Work] = field(default_factory=dict)
    holders: dict[Tensor, Holder] = field(default_factory=dict)
    nbytes: int = 0

    @property
    def works(self) -> list[Work]:
        return list(self.load.values())


def spare(clusters: list[Cluster], target: Target) -> int:
    """Bytes of SRAM that constants may keep while every tensor of the NPU clusters fits beside them; 0 where none do."""
    live = [live_bytes(set(storages(c).values()), 0, len(c.operators) - 1) for c in clusters]
    slack = target.sram_bytes // 64  # for holes between buffers
    every = sum(constant_bytes(op) + ALIGNMENT * len(constants(op)) for c in clusters for op in c.operators)
    busiest = max(map(max, live), default=0)
    if busiest + every + slack <= target.sram_bytes:
        return every
    room = target.sram_bytes - slack - STREAM
    for budget in range(room - busiest, 0, -(target.sram_bytes // _STEPS)):
        # what is not kept streams by: it needs room as well
        kept = set(_most_worth_keeping(clusters, budget))
        if all(
            max(map(sum, zip(tensors, *_streaming(c.operators, kept)))) + budget <= room
            for c, tensors in zip(clusters, live)
        ):
            return budget
    return 0


def _streaming(operators: list[Operator], kept: set[Operator]) -> tuple[list[int], list[int]]:
    """For each operator the bytes of constants that it, and that the next one, does not find in SRAM."""
    own = [0 if op in kept else constant_bytes(op) for op in operators]
    return own, [*own[1:], 0]


def choose(clusters: list[Cluster], target: Target, pool: ConstantPool, budget: int) -> Residents:
    """Keeps constants of at most ``budget`` bytes, those first whose transfer is longest for the work that is done with them."""
    for c in clusters:
        for op in c.operators:
            for t in constants(op):
                pool.place(t)
    kept = _most_worth_keeping(clusters, budget)
    found: dict[int, tuple[int, Operator]] = {}  # by place in the pool: equal tables have one
    for op in kept:
        for t in constants(op):
            found.setdefault(pool.place(t), (t.size * ITEMSIZE[t.dtype], op))
    out = Residents()
    places: dict[int, tuple[Buffer, int]] = {}
    for run in _neighbours([(at, *found[at]) for at in sorted(found)]):
        (start, _, first), (at, size, last) = run[0], run[-1]
        names = first.name if first is last else f"{first.name} to {last.name}"
        buffer = Buffer(f"constants of {names}", at + size - start, Space.SRAM, is_resident=True)
        out.load[buffer] = transfer(
            "LOAD", Engine.LOAD, pool.buffer, buffer, buffer.size, first, source_offset=start
        )
        out.nbytes += -(-buffer.size // ALIGNMENT) * ALIGNMENT
        places |= {at: (buffer, at - start) for at, _, _ in run}
    for op in kept:
        for t in constants(op):
            buffer, offset = places[pool.place(t)]
            out.holders[t] = Holder(buffer, t.dtype, t.shape, (0,) * len(t.shape), offset)
    return out


def _neighbours(pieces: list[tuple[int, int, Operator]]) -> list[list[tuple[int, int, Operator]]]:
    """Pieces of the pool, (place, bytes, operator) by place, in runs without gaps that one transfer brings."""
    runs: list[list[tuple[int, int, Operator]]] = []
    end = 0
    for piece in pieces:
        if not runs or piece[0] - end >= ALIGNMENT:
            runs.append([])
        runs[-1].append(piece)
        end = piece[0] + piece[1]
    return runs


def _most_worth_keeping(clusters: list[Cluster], budget: int) -> list[Operator]:
    """Operators whose constants together have at most ``budget`` bytes, in the program's order."""
    operators = [op for c in clusters for op in c.operators if constants(op) and op.op_type != "npu.reshape"]

    def uses(i: int) -> tuple[int, int, int]:
        """How often each constant is used: once for each place of the output."""
        y = operators[i].outputs[0]
        return y.size // (y.shape[-1] if y.shape else 1), -constant_bytes(operators[i]), i

    kept = []
    for i in sorted(range(len(operators)), key=uses):
        size = constant_bytes(operators[i]) + ALIGNMENT * len(constants(operators[i]))
        if size <= budget:
            budget -= size
            kept.append(i)
    return [operators[i] for i in sorted(kept)]
