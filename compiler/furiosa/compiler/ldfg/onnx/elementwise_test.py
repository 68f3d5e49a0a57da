"""Which elementwise operators of ONNX stay on the host, and why; which become tables."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from furiosa.compiler.dfg.broadcast import merged
from furiosa.compiler.frontend.importer import import_model
from furiosa.compiler.ldfg.lower import lower
from furiosa.compiler.ldfg.lowering import Lowering

SHAPE = (1, 6, 5, 7)


def _lower(op_type: str, *operands: np.ndarray | tuple[int, ...] | str, **attributes: Any) -> Lowering:
    """One quantised operator: a shape is a quantised input, an array a constant, "dynamic" a real input of one value."""
    nodes, inputs, names = [], [], []
    constants = [numpy_helper.from_array(np.float32(0.1), "s"), numpy_helper.from_array(np.int8(3), "z")]
    for i, operand in enumerate(operands):
        name = f"x{i}"
        if isinstance(operand, np.ndarray):
            constants.append(numpy_helper.from_array(operand, name))
        elif operand == "dynamic":
            inputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]))
        else:
            inputs.append(helper.make_tensor_value_info(name, TensorProto.INT8, operand))
            nodes.append(helper.make_node("DequantizeLinear", [name, "s", "z"], [f"{name}_d"]))
            name += "_d"
        names.append(name)
    nodes.append(helper.make_node(op_type, names, ["f"], **attributes))
    nodes.append(helper.make_node("QuantizeLinear", ["f", "s", "z"], ["y"]))
    y = helper.make_tensor_value_info("y", TensorProto.INT8, None)
    graph = helper.make_graph(nodes, "g", inputs, [y], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=8)
    return lower(import_model(model.SerializeToString()))


def _failed(lowering: Lowering) -> list[str]:
    (verdict,) = [
        v for op, v in lowering.verdicts.items() if op.op_type not in ("DequantizeLinear", "QuantizeLinear")
    ]
    return [r.rule for r in verdict.reasons]


def _tables(lowering: Lowering) -> list[int]:
    lookups = [op for op in lowering.operators if op.op_type == "npu.table_lookup"]
    return [op.inputs[1].shape[0] for op in lookups]


ONE, CHANNELS, LAST = (np.full(s, 0.5, np.float32) for s in ((1,), (6, 1, 1), (7,)))


@pytest.mark.parametrize("op_type", ["Add", "Sub", "Mul", "Div", "Max", "Min", "PRelu", "Sum", "Mean"])
def test_a_constant_makes_a_table(op_type: str) -> None:
    assert _tables(_lower(op_type, SHAPE, ONE)) == [1]
    assert _tables(_lower(op_type, SHAPE, CHANNELS)) == [6]
    assert _tables(_lower(op_type, SHAPE, LAST)) == [7]


@pytest.mark.parametrize(
    ("case", "failed"),
    [
        (("Div", SHAPE, SHAPE), ["constant-parameters", "supported-attributes"]),
        (("PRelu", SHAPE, SHAPE), ["constant-parameters", "supported-attributes"]),
        (("PRelu", SHAPE, np.ones(SHAPE, np.float32)), ["supported-attributes"]),
        (("Div", (1,), np.ones(SHAPE, np.float32)), ["supported-attributes"]),
        (("Sum", SHAPE, SHAPE, SHAPE), []),
        (("Mean", SHAPE, SHAPE, SHAPE), []),
        (("Add", SHAPE, np.ones(SHAPE, np.float32)), ["eight-bit-activations", "quantized-per-tensor"]),
        (("Add", (2, 1, 3, 1, 4), (1, 5, 3, 6, 4)), ["broadcast-limit"]),
        (("Pow", SHAPE, ONE), []),
        (("Pow", SHAPE, CHANNELS), ["supported-attributes"]),
        (("Clip", SHAPE, ONE.reshape(())), []),
        (("Abs", SHAPE), ["operator-table"]),
        (("Neg", SHAPE), ["operator-table"]),
    ],
)
def test_host(case: tuple, failed: list[str]) -> None:
    assert set(_failed(_lower(*case))) - {"quantized-per-tensor"} == set(failed) - {"quantized-per-tensor"}


def test_operators_on_the_integers_themselves() -> None:
    """A Max of int8 tensors compares integers: what they stand for does not matter."""
    nodes = [helper.make_node("QuantizeLinear", [n, f"s{n}", "z"], [f"{n}_q"]) for n in ("a", "b")]
    nodes.append(helper.make_node("Max", ["a_q", "b_q"], ["m"]))
    nodes.append(helper.make_node("DequantizeLinear", ["m", "sa", "z"], ["y"]))
    constants = {"sa": np.float32(0.1), "sb": np.float32(0.2), "z": np.int8(0)}
    values = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [2, 3]) for n in ("a", "b", "y")]
    graph = helper.make_graph(
        nodes, "g", values[:2], values[2:], [numpy_helper.from_array(v, k) for k, v in constants.items()]
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(model)
    lowering = lower(import_model(model.SerializeToString()))
    (verdict,) = [v for op, v in lowering.verdicts.items() if op.op_type == "Max"]
    assert [r.rule for r in verdict.reasons] == ["reference-arithmetic"]


def test_merged_dimensions() -> None:
    assert merged((8, 3, 4, 5), (8, 3, 4, 5), (3, 1, 1)) == ((8, 3, 20), [(8, 3, 20), (1, 3, 1)])
    assert merged((2, 3), (2, 3), (2, 3)) == ((6,), [(6,), (6,)])
    assert merged((2, 1, 3), (1, 1, 3), (2, 1, 1)) == ((2, 3), [(1, 3), (2, 1)])
    assert merged((1, 1), (1,), ()) == ((), [(), ()])
