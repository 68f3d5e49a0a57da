"""Stage ldfg -> cdfg."""

from __future__ import annotations

import heapq
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
    """Groups operators into as few clusters as a greedy schedule finds: all that is ready in one place, then the other.

    The reference runtime fuses operators of one cluster, so operators of the host stay together wherever they can: one that only other
    operators of the host read waits for them, and a companion (``Lowering.companions``) is in every cluster that reads it.
    """
    operators = _live(lowering)
    order = {op: i for i, op in enumerate(operators)}
    producer = {t: op for op in operators for t in op.outputs}
    results = set(lowering.graph.outputs)
    on_npu = {t for op in operators if _kind(op) == "npu" for t in _inputs(op)}

    def before(op: Operator) -> list[Operator]:
        return [producer[t] for t in _inputs(op) if t in producer and producer[t] is not op]

    def taken_along(op: Operator) -> list[Operator]:
        """The operator and, on the host, the companions that it reads, directly or through others."""
        found = {op: None}
        for member in (waiting := [op] if _kind(op) == "host" else []):
            new = [p for p in before(member) if p in lowering.companions and p not in found]
            found.update(dict.fromkeys(new))
            waiting += new
        return list(found)

    needs: dict[Operator, set[Operator]] = {}
    for op in operators:
        if op not in lowering.companions or any(t in results or t in on_npu for t in op.outputs):
            members = taken_along(op)
            needs[op] = {p for m in members for p in before(m)} - set(members)
    groups = [
        (kind, sorted({m for op in group for m in taken_along(op)}, key=order.__getitem__))
        for kind, group in _schedule(order, needs, results)
    ]
    return _clusters(groups, results)


def _schedule(
    order: dict[Operator, int], needs: dict[Operator, set[Operator]], results: set[Tensor]
) -> list[tuple[str, list[Operator]]]:
    """The operators of each turn, which come to the NPU and to the host by turns."""
    readers: dict[Operator, list[Operator]] = {op: [] for op in needs}
    waiting = {op: len(before) for op, before in needs.items()}
    ready: dict[str, list[int]] = {"npu": [], "host": []}  # heaps of places in the order
    by_place = {order[op]: op for op in needs}
    for op, before in needs.items():
        for p in before:
            readers[p].append(op)
        if not before:
            heapq.heappush(ready[_kind(op)], order[op])
    early: set[Operator] = set()  # could have run, and wait for a reader that runs in the same turn
    groups = []
    kind, count = "npu", 0
    while count < len(needs):
        taken: list[Operator] = []
        while ready[kind]:
            op = by_place[heapq.heappop(ready[kind])]
            if (
                kind == "npu"
                or results.intersection(op.outputs)
                or any(_kind(r) == "npu" for r in readers[op])
            ):
                taken.append(op)
            else:
                early.add(op)
            for reader in readers[op]:
                waiting[reader] -= 1
                if not waiting[reader]:
                    heapq.heappush(ready[_kind(reader)], order[reader])
        for op in taken:  # which grows
            due = [p for p in needs[op] if p in early]
            early.difference_update(due)
            taken += due
        if taken:
            groups.append((kind, taken))
        count += len(taken)
        kind = "host" if kind == "npu" else "npu"
    return groups


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


def _clusters(groups: list[tuple[str, list[Operator]]], results: set[Tensor]) -> list[Cluster]:
    inputs = []
    for _, operators in groups:
        made: set[Tensor] = set()
        read: dict[Tensor, None] = {}  # a dict keeps the order
        for op in operators:
            read.update((t, None) for t in _inputs(op) if t not in made)
            made.update(op.outputs)
        inputs.append(list(read))
    wanted = results.union(*inputs)
    clusters = []
    for (kind, operators), taken in zip(groups, inputs):
        outputs = [t for op in operators for t in op.outputs if t in wanted]
        wanted.difference_update(outputs)  # a companion's may be made again
        clusters.append(Cluster(kind, operators, taken, outputs))
    return clusters
