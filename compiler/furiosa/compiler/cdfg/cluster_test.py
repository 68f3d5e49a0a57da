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
