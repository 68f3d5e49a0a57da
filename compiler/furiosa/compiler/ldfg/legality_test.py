"""Each rule of the ldfg, broken."""

from __future__ import annotations

from importlib import import_module

import numpy as np
import pytest

from furiosa.compiler.dfg.graph import Graph, Operator, Quantization, Tensor
from furiosa.compiler.dfg.legality import Illegal
from furiosa.compiler.dfg.testing import Changes, assert_illegal
from furiosa.compiler.ldfg import rules
from furiosa.compiler.ldfg.legality import check
from furiosa.compiler.ldfg.lower import lower
from furiosa.compiler.ldfg.lowering import Facts, Lowering
from furiosa.compiler.ldfg.verdict import Reason, failures
from furiosa.compiler.pipeline import Compilation, Options


@pytest.fixture
def lowering(quantized_model: bytes) -> Lowering:
    """NPU operators, then the host operator "sinh"."""
    return Compilation(quantized_model, Options()).run("ldfg").ldfg


def test_legal(lowering):
    check(lowering)


changes = Changes()


@changes
def no_verdict(low: Lowering) -> None:
    del low.verdicts[low.graph.operators[0]]


@changes
def no_place(low: Lowering) -> None:
    low.verdicts[low.graph.operators[0]].placed_on = "gpu"


@changes
def host_without_a_reason(low: Lowering) -> None:
    low.verdicts[low.graph.operators[-1]].reasons = []


@changes
def npu_with_a_reason(low: Lowering) -> None:
    low.verdicts[low.graph.operators[0]].reasons = [Reason("r", "", "", "", "")]


@changes
def host_operator_lost(low: Lowering) -> None:
    low.operators = [op for op in low.operators if op.op_type.startswith("npu.")]
    low.graph.outputs = []


@changes
def source_operator_left(low: Lowering) -> None:
    low.operators.insert(0, low.graph.operators[0])


@changes
def two_outputs(low: Lowering) -> None:
    low.operators[0].outputs.append(low.operators[0].outputs[0])


@changes
def omitted_input(low: Lowering) -> None:
    low.operators[0].inputs.append(None)


@changes
def no_size(low: Lowering) -> None:
    low.operators[0].outputs[0].dtype = "string"


@changes
def order(low: Lowering) -> None:
    low.operators.reverse()


@pytest.mark.parametrize("change", changes)
def test_illegal(lowering, change):
    assert_illegal("ldfg", lowering, change, check)


def _unchecked(low: Lowering, op: Operator) -> None:
    low.emit_to("npu.reshape", [op.inputs[0]], op.outputs[0])


def _undeclared(low: Lowering, op: Operator) -> None:
    low.check((rules.rank_limit, rules.group_limit), Facts(op.op_type, [], []))


@pytest.mark.parametrize("name", ["onnx", "tflite"])
def test_both_formats_hold_their_functions_to_them(name, monkeypatch, quantized_model):
    function = rules.requires((rules.rank_limit,))(lambda low, _: low.emit_to("npu.reshape", [x], y))
    x, y = Tensor("x", (1,), "int8"), Tensor("y", (1,), "int8")
    graph = Graph("tflite", "", [x], [y], [Operator("op", "RELU", [x], [y])])
    if name == "onnx":
        graph = Compilation(quantized_model, Options()).run("dfg").dfg
    module = import_module(f"furiosa.compiler.ldfg.{name}.lower")
    monkeypatch.setitem(module.LOWERINGS, "RELU" if name == "tflite" else "Conv", function)
    with pytest.raises(Illegal, match="does not check its rules rank-limit"):
        lower(graph)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (_unchecked, "_unchecked does not check its rules rank-limit"),
        (_undeclared, "a rule for RELU is not in @requires: group-limit"),
    ],
)
def test_a_lowering_function_keeps_to_the_rules_it_declares(function, message):
    x, y = Tensor("x", (1,), "int8"), Tensor("y", (1,), "int8")
    op = Operator("op", "RELU", [x], [y])
    low = Lowering(Graph("tflite", "", [x], [y], [op]))
    with pytest.raises(Illegal, match=message):
        low.apply("RELU", rules.requires((rules.rank_limit,))(function), op)


@pytest.mark.parametrize(
    ("reference", "actual"),
    [
        ("scales too far apart", "scales too far apart (scale and zero point of x: 0.5, -3; y: 0.25, 0)"),
        ("an odd kernel", "an odd kernel"),
    ],
)
def test_a_reason_about_scales_names_them(reference, actual):
    x, y = (
        Tensor(name, (1,), "int8", Quantization(np.float32([scale]), np.int32([zero])))
        for name, scale, zero in (("x", 0.5, -3), ("y", 0.25, 0))
    )
    (reason,) = failures((rules.reference_arithmetic,), Facts("ADD", [x, x, y], [], reference=reference))
    assert reason.actual == actual
