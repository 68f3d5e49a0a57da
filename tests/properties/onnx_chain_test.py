"""ONNX: operators on real numbers that are together a function of one quantised tensor: SiLU, Gelu and their kin."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from onnx import TensorProto, helper, numpy_helper

from tests.properties.harness import Machine, bounded, check
from tests.properties.strategies import Quantization, any_shapes, machines, seeds, together, values
from tests.reference import onnx_op, table
from tests.reference.rounding import f32

Node = tuple[str, list, str]  # type, inputs (a number is a constant), output; from "x" to "y"

CHAINS: dict[str, list[Node]] = {
    "SiLU": [("Sigmoid", ["x"], "a"), ("Mul", ["x", "a"], "y")],
    "QuickGelu": [("Mul", ["x", 1.702], "a"), ("Sigmoid", ["a"], "b"), ("Mul", ["x", "b"], "y")],
    "Gelu": [
        ("Div", ["x", math.sqrt(2)], "a"),
        ("Erf", ["a"], "b"),
        ("Add", ["b", 1.0], "c"),
        ("Mul", ["x", "c"], "d"),
        ("Mul", ["d", 0.5], "y"),
    ],
    "Gelu by tanh": [
        ("Pow", ["x", 3.0], "a"),
        ("Mul", ["a", 0.044715], "b"),
        ("Add", ["x", "b"], "c"),
        ("Mul", ["c", math.sqrt(2 / math.pi)], "d"),
        ("Tanh", ["d"], "e"),
        ("Add", ["e", 1.0], "f"),
        ("Mul", ["x", 0.5], "g"),
        ("Mul", ["g", "f"], "y"),
    ],
    "HardSwish": [
        ("Add", ["x", 3.0], "a"),
        ("Clip", ["a", 0.0, 6.0], "b"),
        ("Mul", ["x", "b"], "c"),
        ("Div", ["c", 6.0], "y"),
    ],
    "Mish": [("Softplus", ["x"], "a"), ("Tanh", ["a"], "b"), ("Mul", ["x", "b"], "y")],
    "scaled and shifted": [("Mul", ["x", 0.3], "a"), ("Sub", [1.0, "a"], "y")],
}


def _model(chain: list[Node], qx: Quantization, qy: Quantization, shape: tuple[int, ...]) -> bytes:
    constants: dict[str, np.ndarray] = {}
    for name, q in (("x", qx), ("y", qy)):
        constants[f"{name}_scale"] = f32(q.scale)
        constants[f"{name}_zero_point"] = np.array(q.zero_point, q.dtype)
    nodes = [helper.make_node("DequantizeLinear", ["input", "x_scale", "x_zero_point"], ["x"])]
    for op_type, inputs, output in chain:
        names = []
        for value in inputs:
            if not isinstance(value, str):
                value = f"constant{len(constants)}"
                constants[value] = f32(inputs[len(names)])
            names.append(value)
        nodes.append(helper.make_node(op_type, names, [output]))
    nodes.append(helper.make_node("QuantizeLinear", ["y", "y_scale", "y_zero_point"], ["output"]))
    code = {"int8": TensorProto.INT8, "uint8": TensorProto.UINT8}[qx.dtype]
    graph = helper.make_graph(
        nodes,
        "chain",
        [helper.make_tensor_value_info("input", code, shape)],
        [helper.make_tensor_value_info("output", code, shape)],
        [numpy_helper.from_array(np.asarray(v), name) for name, v in constants.items()],
    )
    opsets = [helper.make_opsetid("", 17)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()


_STEPS = {
    "Add": lambda a, b: a + b,
    "Clip": lambda x, low, high: min(max(x, low), high),
    "Div": lambda a, b: a / b,
    "Erf": lambda x: f32(math.erf(x)),
    "Mul": lambda a, b: a * b,
    "Pow": lambda x, _: x * x * x,
    "Sigmoid": lambda x: f32(table.sigmoid(float(x))),
    "Softplus": lambda x: f32(np.logaddexp(0.0, np.float64(x))),
    "Sub": lambda a, b: a - b,
    "Tanh": lambda x: f32(math.tanh(x)),
}


def _function(chain: list[Node], x: np.float32) -> np.float32:
    """Step by step in float32."""
    numbers = {"x": x}
    for op_type, inputs, output in chain:
        given = [numbers[v] if isinstance(v, str) else f32(v) for v in inputs]
        numbers[output] = _STEPS[op_type](*given)
    return numbers["y"]


@pytest.mark.parametrize("name", CHAINS)
@bounded(10)
@given(machine=machines(), q=together(2), shape=any_shapes(1, 5), seed=seeds())
def test_chains(name: str, machine: Machine, q: tuple, shape: tuple[int, ...], seed: int) -> None:
    qx, qy = q
    entries = table.table_onnxruntime(lambda x: _function(CHAINS[name], x), *qx[1:], *qy[1:], qx.dtype)
    x = values(qx.dtype, shape, seed)
    model = _model(CHAINS[name], qx, qy, shape)
    # onnxruntime's own Sigmoid, Erf and Tanh are approximations: a few entries of a million differ by one
    off = int(bool({op for op, *_ in CHAINS[name]} & {"Erf", "Sigmoid", "Softplus", "Tanh"}))
    compiled = check(model, [x], machine=machine, max_lsb=off)
    np.testing.assert_array_equal(compiled.outputs[0], table.lookup(x, entries))


@bounded(10)
@given(machine=machines(), q=together(3), shape=any_shapes(1, 4), seed=seeds())
def test_silu_with_quantisation_between(
    machine: Machine, q: tuple, shape: tuple[int, ...], seed: int
) -> None:
    """As quantisers write it: the Sigmoid is quantised for itself."""
    qx, qs, qy = q
    x = values(qx.dtype, shape, seed)
    model = onnx_op.build_qdq("Sigmoid", [onnx_op.Operand(shape, *qx)], onnx_op.Operand(shape, *qs))
    (s,) = check(model, [x], machine=machine).outputs
    both = [onnx_op.Operand(shape, *qx), onnx_op.Operand(shape, *qs)]
    check(onnx_op.build_qdq("Mul", both, onnx_op.Operand(shape, *qy)), [x, s], machine=machine)
