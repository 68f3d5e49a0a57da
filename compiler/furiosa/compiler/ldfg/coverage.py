"""How much of a model the NPU does, and what the rest is estimated to cost on the host."""

from __future__ import annotations

from typing import NamedTuple

from furiosa.compiler.dfg.graph import Graph, Operator, Tensor
from furiosa.compiler.dfg.macs import LARGEST, Unknown, count, macs
from furiosa.compiler.ldfg.lowering import Lowering
from furiosa.enf import timing
from furiosa.enf.dtypes import ITEMSIZE
from furiosa.enf.target import Target


class Coverage(NamedTuple):
    """Multiply-accumulates of one run, of the operators on the NPU and of all, and how many operators run where.

    ``unknown_macs`` is the number of operators whose multiply-accumulates nobody can tell; the sums lack theirs.
    """

    npu_macs: int
    total_macs: int
    npu_operators: int
    host_operators: int
    unknown_macs: int = 0

    @property
    def basis(self) -> str:
        """What the share is a share of: "macs"; "operators" for a model without multiply-accumulates."""
        return "macs" if self.total_macs or self.unknown_macs else "operators"

    @property
    def share(self) -> float | None:
        """The NPU's share, 0 to 1; 0 for a model without operators, None where it cannot be known."""
        if self.unknown_macs:
            return None
        if self.total_macs:
            return round(self.npu_macs / self.total_macs, 6)
        operators = self.npu_operators + self.host_operators
        return round(self.npu_operators / operators, 6) if operators else 0.0


def coverage(lowering: Lowering) -> Coverage:
    """The coverage of a lowered model."""
    graph = lowering.graph
    placed = [(macs(op, graph.format), lowering.verdicts[op].placed_on == "npu") for op in graph.operators]
    return Coverage(
        npu_macs=min(sum(n or 0 for n, on_npu in placed if on_npu), LARGEST),
        total_macs=min(sum(n or 0 for n, _ in placed), LARGEST),
        npu_operators=sum(on_npu for _, on_npu in placed),
        host_operators=sum(not on_npu for _, on_npu in placed),
        unknown_macs=sum(n is None for n, _ in placed),
    )


def unknown_macs(graph: Graph) -> list[tuple[Operator, str]]:
    """The operators whose multiply-accumulates nobody can tell, each with the reason, a clause."""
    found = []
    for op in graph.operators:
        try:
            count(op, graph.format)
        except Unknown as e:
            found.append((op, str(e)))
    return found


def estimate_host(lowering: Lowering, target: Target) -> None:
    """Sets what each verdict "host" costs: the operator's own time there, and the transfers between it and the NPU.

    Both are estimates from the target's rates (furiosa.enf.timing), not calibrated: no measurement of any host is in them.
    """
    for op, verdict in lowering.verdicts.items():
        if verdict.placed_on == "host":
            known = macs(op, lowering.graph.format) or 0
            verdict.host_us = round(timing.host_us(target, known, moved_bytes(op)), 3)
            verdict.transfer_us = round(timing.transfer_us(target, _crossing_bytes(lowering, op)), 3)


def moved_bytes(op: Operator) -> int:
    """The bytes of an operator's inputs and outputs."""
    return sum(_bytes(t) for t in (*op.inputs, *op.outputs) if t is not None)


def _crossing_bytes(lowering: Lowering, op: Operator) -> int:
    """The bytes of what an operator on the host reads from the NPU and writes for it."""

    def on_npu(other: Operator | None) -> bool:
        return other is not None and lowering.verdicts[other].placed_on == "npu"

    read = {t for t in op.inputs if t is not None and on_npu(lowering.producer.get(t))}
    written = {t for t in op.outputs if any(on_npu(user) for user in lowering.consumers.get(t, ()))}
    return sum(_bytes(t) for t in (*read, *written))


def _bytes(t: Tensor) -> int:
    return t.size * ITEMSIZE.get(t.dtype, 1)
