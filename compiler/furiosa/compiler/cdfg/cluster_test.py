"""Clustering: few clusters, in an order that respects the data, with exactly what crosses between them."""

from __future__ import annotations

from furiosa.compiler.cdfg.cluster import cluster
from furiosa.compiler.dfg.graph import Graph, Operator, Tensor
from furiosa.compiler.ldfg.lowering import Lowering


def _tensor(name: str) -> Tensor:
    return Tensor(name, (4,), "int8")


def _lowering(operators: list[Operator], inputs: list[Tensor], outputs: list[Tensor]) -> Lowering:
    lowering = Lowering(Graph("tflite", "g", inputs, outputs, []))
    lowering.operators = operators
    return lowering


def test_independent_operators_of_one_place_share_a_cluster() -> None:
    x, a, b, c, d = (_tensor(n) for n in "xabcd")
    operators = [
        Operator("1", "npu.reshape", [x], [a]),
        Operator("2", "ARG_MAX", [x], [b]),
        Operator("3", "npu.reshape", [a], [c]),  # does not need 2: no third cluster
        Operator("4", "ARG_MAX", [c], [d]),
    ]
    clusters = cluster(_lowering(operators, [x], [b, d]))
    assert [(c.kind, [o.name for o in c.operators]) for c in clusters] == [
        ("npu", ["1", "3"]),
        ("host", ["2", "4"]),
    ]


def test_crossings() -> None:
    x, a, b, y = (_tensor(n) for n in "xaby")
    operators = [
        Operator("1", "npu.reshape", [x], [a]),
        Operator("2", "ARG_MAX", [a], [b]),
        Operator("3", "npu.add", [a, b], [y]),
    ]
    first, second, third = cluster(_lowering(operators, [x], [y]))
    assert (first.inputs, first.outputs) == ([x], [a])
    assert (second.inputs, second.outputs) == ([a], [b])
    assert (third.inputs, third.outputs) == ([a, b], [y])


def test_what_no_output_needs_is_left_out() -> None:
    x, a, b = (_tensor(n) for n in "xab")
    operators = [Operator("1", "npu.reshape", [x], [a]), Operator("2", "npu.reshape", [x], [b])]
    (only,) = cluster(_lowering(operators, [x], [a]))
    assert [o.name for o in only.operators] == ["1"]


def test_an_operator_of_the_host_waits_for_those_of_the_host_that_read_it() -> None:
    """So the reference runtime sees them together, and can fuse them as it would in the whole model."""
    x, a, b, c, d, y = (_tensor(n) for n in "xabcdy")
    operators = [
        Operator("1", "Conv", [x], [a]),  # ready at once, but read by 5 only
        Operator("2", "Relu", [x], [b]),
        Operator("3", "npu.reshape", [b], [c]),
        Operator("4", "Conv", [c], [d]),
        Operator("5", "Add", [a, d], [y]),
    ]
    clusters = cluster(_lowering(operators, [x], [y]))
    assert [(c.kind, [o.name for o in c.operators]) for c in clusters] == [
        ("host", ["2"]),
        ("npu", ["3"]),
        ("host", ["1", "4", "5"]),
    ]
    assert (clusters[2].inputs, clusters[2].outputs) == ([x, c], [y])


def test_what_both_the_host_and_the_npu_read_is_made_early() -> None:
    x, a, b, y = (_tensor(n) for n in "xaby")
    operators = [
        Operator("1", "Conv", [x], [a]),
        Operator("2", "npu.reshape", [a], [b]),
        Operator("3", "Add", [a, b], [y]),
    ]
    clusters = cluster(_lowering(operators, [x], [y]))
    assert [[o.name for o in c.operators] for c in clusters] == [["1"], ["2"], ["3"]]


def test_companions_are_in_every_cluster_that_reads_them() -> None:
    x, q, r, a, b, y = (_tensor(n) for n in "xqraby")
    operators = [
        Operator("1", "DequantizeLinear", [x], [q]),
        Operator("2", "Reshape", [q], [r]),
        Operator("3", "Conv", [r], [a]),
        Operator("4", "npu.reshape", [a], [b]),
        Operator("5", "Conv", [b, r], [y]),
    ]
    lowering = _lowering(operators, [x], [y])
    lowering.companions = set(operators[:2])
    first, _, last = cluster(lowering)
    assert [o.name for o in first.operators] == ["1", "2", "3"]
    assert [o.name for o in last.operators] == ["1", "2", "5"]
    assert (first.inputs, first.outputs) == ([x], [a])
    assert (last.inputs, last.outputs) == ([x, b], [y])


def test_a_companion_that_others_read_too_is_given_out_once() -> None:
    x, q, a, b, y = (_tensor(n) for n in "xqaby")
    operators = [
        Operator("1", "DequantizeLinear", [x], [q]),
        Operator("2", "Relu", [q], [a]),
        Operator("3", "npu.add", [q, a], [b]),
        Operator("4", "Add", [q, b], [y]),
    ]
    lowering = _lowering(operators, [x], [q, y])
    lowering.companions = {operators[0]}
    first, second, last = cluster(lowering)
    assert [o.name for o in first.operators] == ["1", "2"]
    assert [o.name for o in last.operators] == ["1", "4"]
    assert (first.outputs, second.inputs) == ([q, a], [q, a])
    assert (last.inputs, last.outputs) == ([x, b], [y])
