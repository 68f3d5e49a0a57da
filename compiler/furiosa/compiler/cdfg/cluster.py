"""Stage ldfg -> cdfg."""

from __future__ import annotations

from dataclasses import dataclass

from furiosa.compiler.dfg.graph import Operator, Tensor
from furiosa.compiler.ldfg.lowering import Lowering


@dataclass(slots=True, eq=False)
class Cluster:
    """Operators that run in one place, one after the other.

    ``inputs`` are made elsewhere, ``outputs`` are used elsewhere or are the model's; no constants among them.
    """

    kind: str  # "npu" or "host"
    operators: list[Operator]
    inputs: list[Tensor]
    outputs: list[Tensor]


def cluster(lowering: Lowering) -> list[Cluster]:
    """Groups operators into as few clusters as a greedy schedule finds: all that is ready in one place, then the other."""
    operators = _live(lowering)
    producer = {t: op for op in operators for t in op.outputs}
    waiting = {
        op: {producer[t] for t in _inputs(op) if t in producer and producer[t] is not op} for op in operators
    }
    groups: list[tuple[str, list[Operator]]] = []
    pending = operators
    kind = "npu"
    done: set[Operator] = set()
    while pending:
        taken, rest = [], []
        for op in pending:  # the original order is topological: one pass finds all that becomes ready
            if _kind(op) == kind and waiting[op] <= done:
                taken.append(op)
                done.add(op)
            else:
                rest.append(op)
        if taken:
            groups.append((kind, taken))
        pending = rest
        kind = "host" if kind == "npu" else "npu"
    return [_cluster(lowering, kind, ops, operators) for kind, ops in groups]


def _kind(op: Operator) -> str:
    return "npu" if op.op_type.startswith("npu.") else "host"


def _inputs(op: Operator) -> list[Tensor]:
    """What an operator reads, constants and omitted inputs left out."""
    return [t for t in op.inputs if t is not None and not t.is_constant]


def _live(lowering: Lowering) -> list[Operator]:
    """The operators that an output depends on."""
    needed = set(lowering.graph.outputs)
    out = []
    for op in reversed(lowering.operators):
        if any(t in needed for t in op.outputs):
            needed.update(_inputs(op))
            out.append(op)
    out.reverse()
    return out


def _cluster(lowering: Lowering, kind: str, ops: list[Operator], all_ops: list[Operator]) -> Cluster:
    inside = {t for op in ops for t in op.outputs}
    members = set(ops)
    used_outside = {t for op in all_ops if op not in members for t in _inputs(op)}
    used_outside.update(lowering.graph.outputs)
    inputs: dict[Tensor, None] = {}  # a dict keeps the order
    for op in ops:
        for t in _inputs(op):
            if t not in inside:
                inputs[t] = None
    outputs = [t for op in ops for t in op.outputs if t in used_outside]
    return Cluster(kind, ops, list(inputs), outputs)
