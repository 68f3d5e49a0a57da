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
    """Constants in SRAM, from address 0 on: ``works`` load them, one buffer each; ``nbytes`` is where the rest begins."""

    works: list[Work] = field(default_factory=list)
    holders: dict[Tensor, Holder] = field(default_factory=dict)
    nbytes: int = 0


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
    out = Residents()
    users: dict[int, tuple[Tensor, Operator]] = {}  # by place in the pool: equal tables have one
    tensors: list[Tensor] = []
    for op in kept:
        for t in constants(op):
            users.setdefault(pool.place(t), (t, op))
            tensors.append(t)
    start = end = 0
    run: Buffer | None = None
    places: dict[int, tuple[Buffer, int]] = {}
    for at, (t, op) in sorted(users.items(), key=lambda u: u[0]):
        if run is None or at - end >= ALIGNMENT:
            start, run = at, Buffer(f"{op.name}/resident", 0, Space.SRAM, is_resident=True)
            out.works.append(transfer("LOAD", Engine.LOAD, pool.buffer, run, 1, op, source_offset=start))
        end = max(end, at + t.size * ITEMSIZE[t.dtype])
        run.size = end - start
        places[at] = (run, at - start)
    for w in out.works:
        size = w.operands[1].buffer.size
        for view in w.operands:
            view.shape, view.strides = (1, 1, 1, size), (0, 0, 0, 1)
        out.nbytes += -(-size // ALIGNMENT) * ALIGNMENT
    for t in tensors:
        run, offset = places[pool.place(t)]
        out.holders[t] = Holder(run, t.dtype, t.shape, (0,) * len(t.shape), offset)
    return out


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
