"""Dumps of dfg, ldfg and cdfg."""

from __future__ import annotations

from collections.abc import Iterator

from furiosa.compiler.cdfg.cluster import Cluster
from furiosa.compiler.dfg.graph import Graph, Operator, Tensor
from furiosa.compiler.dump.text import Names, constant, operator, quote, tensor
from furiosa.compiler.ldfg.lowering import Lowering


def dfg(graph: Graph) -> Iterator[str]:
    """The imported graph: operators in order, then the constants."""
    names = Names()
    yield f"dfg of {graph.format} model {quote(graph.name)}"
    yield from _inputs(graph, names)
    yield "operators"
    for i, op in enumerate(graph.operators):
        yield from _operator(f"#{i}", op, names)
    yield from _outputs(graph, names)
    yield from _constants(names)


def ldfg(lowering: Lowering) -> Iterator[str]:
    """The verdict on every source operator, then the lowered graph with the source operators that each one stands for."""
    graph = lowering.graph
    number = {op: i for i, op in enumerate(graph.operators)}
    names = Names()
    yield f"ldfg of {graph.format} model {quote(graph.name)}"
    yield "verdicts"
    for i, op in enumerate(graph.operators):
        verdict = lowering.verdicts[op]
        yield f"  #{i} {op.op_type} {quote(op.name)}: {verdict.placed_on}"
        for r in verdict.reasons:
            yield f"      {r.rule}: found {quote(r.actual)}, allowed {quote(r.allowed)}"
    yield from _inputs(graph, names)
    yield "operators"
    for op in lowering.operators:
        origins = ",".join(f"#{number[o]}" for o in lowering.origins[op]) or "-"
        yield from _operator(origins, op, names)
    yield from _outputs(graph, names)
    yield from _constants(names)


def cdfg(graph: Graph, clusters: list[Cluster]) -> Iterator[str]:
    """The clusters in order, each with what it takes in, what it runs and what it gives."""
    names = Names()
    yield f"cdfg of {graph.format} model {quote(graph.name)}: {len(clusters)} clusters"
    yield from _inputs(graph, names)
    for i, c in enumerate(clusters):
        yield f"cluster {i} {c.kind} {names.list(c.inputs)} -> {names.list(c.outputs)}"
        for op in c.operators:
            yield from _operator("", op, names)
    yield from _outputs(graph, names)
    yield from _constants(names)


def _operator(label: str, op: Operator, names: Names) -> Iterator[str]:
    yield f"  {label} {operator(op, names)}" if label else f"  {operator(op, names)}"
    for t in op.outputs:
        yield f"      {names(t)} {tensor(t)}"


def _inputs(graph: Graph, names: Names) -> Iterator[str]:
    yield "inputs"
    for t in graph.inputs:
        yield f"  {names(t)} {tensor(t)}"


def _outputs(graph: Graph, names: Names) -> Iterator[str]:
    yield "outputs"
    for t in graph.outputs:
        yield f"  {names(t)} {_name(t)}"


def _name(t: Tensor) -> str:
    return quote(t.name)


def _constants(names: Names) -> Iterator[str]:
    if names.constants:
        yield "constants"
    for t in names.constants:
        yield f"  {names(t)} {constant(t)}"
