"""Which elementwise operators of ONNX stay on the host, and why; which become tables."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from furiosa.compiler.dfg.broadcast import merged
from furiosa.compiler.dfg.graph import Quantization, Tensor
from furiosa.compiler.frontend.importer import import_model
from furiosa.compiler.ldfg.lower import lower
from furiosa.compiler.ldfg.lowering import Lowering
from furiosa.compiler.ldfg.onnx.common import real_constant

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
        (("Div", SHAPE, SHAPE), []),
        (("PRelu", SHAPE, SHAPE), ["constant-parameters", "supported-attributes"]),
        (("PRelu", SHAPE, np.ones(SHAPE, np.float32)), ["supported-attributes"]),
        (("Div", (1,), np.ones(SHAPE, np.float32)), ["eight-bit-activations"]),
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


def _chain(nodes: list[onnx.NodeProto], outputs: list[str]) -> dict[str, str]:
    """Where the operators run between a DequantizeLinear that gives "x" and a QuantizeLinear that takes "y"."""
    constants = {"s": np.float32(0.1), "z": np.int8(3), "c": np.float32(2), "v": np.ones(5, np.float32)}
    nodes = [
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["x"]),
        helper.make_node("DequantizeLinear", ["p", "s", "z"], ["w"]),
        *nodes,
        helper.make_node("QuantizeLinear", ["y", "s", "z"], ["r"]),
    ]
    inputs = [helper.make_tensor_value_info(n, TensorProto.INT8, [2, 5]) for n in "qp"]
    results = [helper.make_tensor_value_info(n, TensorProto.INT8 if n == "r" else 1, [2, 5]) for n in outputs]
    initializers = [numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items()]
    graph = helper.make_graph(nodes, "g", inputs, results, initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return {
        op.op_type: v.placed_on for op, v in lower(import_model(model.SerializeToString())).verdicts.items()
    }


def test_chains_are_functions_of_one_tensor() -> None:
    sigmoid = helper.make_node("Sigmoid", ["x"], ["a"])

    def mul(*names: str) -> onnx.NodeProto:
        return helper.make_node("Mul", names, ["y"])

    assert set(_chain([sigmoid, mul("x", "a")], ["r"]).values()) == {"npu"}
    assert set(_chain([sigmoid, mul("c", "a")], ["r"]).values()) == {"npu"}
    for nodes, outputs in (
        ([sigmoid, mul("w", "a")], ["r"]),  # two tensors
        ([sigmoid, mul("v", "a")], ["r"]),  # a constant of several values
        ([sigmoid, mul("x", "a")], ["r", "a"]),  # somebody else reads what is between
        ([helper.make_node("Sinh", ["x"], ["a"]), mul("x", "a")], ["r"]),  # no function of the NPU's
    ):
        assert _chain(nodes, outputs)["Mul"] == "host", nodes


def test_a_long_chain_is_found_in_no_time() -> None:
    """Each operator reads the one before twice: 2^60 paths, 60 operators; beyond the limit the host does it."""
    for count, place in ((60, "npu"), (70, "host")):
        names = ["x", *(f"a{i}" for i in range(count - 1)), "y"]
        nodes = [helper.make_node("Max", [a, a], [b]) for a, b in itertools.pairwise(names)]
        assert _chain(nodes, ["r"])["Max"] == place


def test_channels_last_operators_stay_on_the_host() -> None:
    """An attribute of com.microsoft's operators that turns the layout around."""
    names = ["x", "s", "z", "s", "z"]
    constants = [numpy_helper.from_array(np.float32(0.1), "s"), numpy_helper.from_array(np.int8(3), "z")]
    for last, place in ((0, "npu"), (1, "host")):
        node = helper.make_node(
            "QLinearGlobalAveragePool", names, ["y"], domain="com.microsoft", channels_last=last
        )
        x = helper.make_tensor_value_info("x", TensorProto.INT8, [2, 4, 4, 4])
        shape = [2, 1, 1, 4] if last else [2, 4, 1, 1]
        y = helper.make_tensor_value_info("y", TensorProto.INT8, shape)
        opsets = [helper.make_opsetid("", 13), helper.make_opsetid("com.microsoft", 1)]
        graph = helper.make_graph([node], "g", [x], [y], constants)
        model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
        (verdict,) = lower(import_model(model.SerializeToString())).verdicts.values()
        assert verdict.placed_on == place


def test_the_real_numbers_of_a_quantised_constant() -> None:
    def real(scale: list[float], zero_point: list[int], axis: int | None) -> list | None:
        data = np.array([[1, 2, 3], [4, 5, 6]], np.int8)
        q = Quantization(np.array(scale, np.float32), np.array(zero_point, np.int32), axis)
        values = real_constant(Tensor("c", (2, 3), "int8", q, data))
        return None if values is None else values.tolist()

    assert real([0.5], [1], None) == [[0, 0.5, 1], [1.5, 2, 2.5]]
    assert real([1, 2], [0, 4], 0) == [[1, 2, 3], [0, 2, 4]]
    assert real([1, 2, 4], [0, 0, 0], 1) == [[1, 4, 12], [4, 10, 24]]
    assert real([1, 2], [0, 0], 1) is None  # three columns
    assert real([1, 2], [0], 0) is None
    scalar = Quantization(np.array([0.5], np.float32), np.array([1], np.int32), None)
    assert real_constant(Tensor("c", (), "int8", scalar, np.array(3, np.int8))).reshape(-1).tolist() == [1.0]
