"""ONNX: LayerNormalization in the operators that exporters wrote before it was one, quantised as onnxruntime's quantiser does it."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from furiosa.compiler.pipeline import Compilation, Options
from tests.properties.harness import Machine, bounded, check
from tests.properties.strategies import Quantization, machines, quantizations, seeds, shapes, values
from tests.reference.layer_norm import centred_onnxruntime, mean_onnxruntime
from tests.reference.rounding import f32

TYPES = {"int8": TensorProto.INT8, "uint8": TensorProto.UINT8}


class _Parts:
    """The graph from a quantised x to the quantised quotient.

    Args:
        form: "sum" quantises what epsilon is added to and what comes of it, as onnxruntime's quantiser does; "root" the root as well;
            "variance" the variance only.
        square: "Pow" or "Mul".
        axes: of the rows.
    """

    def __init__(
        self, shape: tuple[int, ...], axes: list[int], q: dict[str, tuple], form: str, square: str
    ) -> None:
        self.nodes, self.constants = [], []
        dtype = q["x"][0]
        self.inputs = [helper.make_tensor_value_info("x_q", TYPES[dtype], shape)]
        for name, (_, scale, zero_point) in q.items():
            self.constant(f"{name}_s", f32(scale))
            self.constant(f"{name}_z", np.asarray(zero_point, dtype))
        self.constant("two", f32(2))
        self.constant("epsilon", f32(1e-5))
        self.add("DequantizeLinear", ["x_q", "x_s", "x_z"], "x")
        self.add("ReduceMean", ["x"], "mean", axes=axes)
        self.add("Sub", ["x", "mean"], "d")
        self.add(square, ["d", "two"] if square == "Pow" else ["d", "d"], "squares")
        self.add("ReduceMean", ["squares"], "v", axes=axes)
        at = self.quantized("v")
        self.add("Add", [at, "epsilon"], "sum")
        at = self.quantized("sum") if form in ("sum", "root") else "sum"
        self.add("Sqrt", [at], "root")
        at = self.quantized("root") if form == "root" else "root"
        self.add("Div", ["d", at], "y")
        self.add("QuantizeLinear", ["y", "y_s", "y_z"], "y_q")
        self.outputs = [helper.make_tensor_value_info("y_q", TYPES[dtype], shape)]

    def constant(self, name: str, value: np.ndarray) -> None:
        self.constants.append(numpy_helper.from_array(np.asarray(value), name))

    def add(self, op_type: str, inputs: list[str], output: str, **attributes) -> None:
        self.nodes.append(helper.make_node(op_type, inputs, [output], name=f"{output}_node", **attributes))

    def quantized(self, name: str) -> str:
        parameters = [f"{name}_s", f"{name}_z"]
        self.add("QuantizeLinear", [name, *parameters], f"{name}_q")
        self.add("DequantizeLinear", [f"{name}_q", *parameters], f"{name}_d")
        return f"{name}_d"

    def model(self) -> bytes:
        graph = helper.make_graph(self.nodes, "parts", self.inputs, self.outputs, self.constants)
        return helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8
        ).SerializeToString()


def _quantizations(qx, qy, spread: float) -> dict[str, tuple]:
    """Of all tensors, from those of the ends; variances from 0 to the square of ``spread``."""
    lowest = int(np.iinfo(qx.dtype).min)
    sums = (qx.dtype, float(f32(spread**2 / 255)), lowest)
    root = (qx.dtype, float(f32(spread / 255)), lowest)
    middle = int(np.clip(qy[2], *((0, 255) if qx.dtype == "uint8" else (-128, 127))))
    return {"x": tuple(qx), "v": sums, "sum": sums, "root": root, "y": (qx.dtype, qy[1], middle)}


@bounded(60)
@given(
    machine=machines(),
    qx=quantizations(low=2.0**-9),
    qy=quantizations(dtypes=("int8",), low=2.0**-6, high=2.0**-3),
    lead=shapes(1, 3, max_elements=200),
    depth=st.one_of(st.integers(1, 20).map(lambda n: 4 * n), st.sampled_from((192, 300, 768))),
    form=st.sampled_from(("sum", "root", "variance")),
    square=st.sampled_from(("Pow", "Mul")),
    seed=seeds(),
)
def test_parts(machine: Machine, qx, qy, lead: tuple, depth: int, form: str, square: str, seed: int) -> None:
    shape = (*lead, depth)
    q = _quantizations(qx, qy, 100 * qx.scale)
    parts = _Parts(shape, [-1] if seed % 2 else [len(shape) - 1], q, form, square)
    x = values(qx.dtype, shape, seed).reshape(-1, depth)
    if form == "variance" or seed % 3:  # a sum of 0 after rounding divides by 0
        x[:: 1 + seed % 4] = qx.zero_point
    check(parts.model(), [x.reshape(shape)], machine=machine)


@bounded(10)
@given(qx=quantizations(low=2.0**-6), depth=st.integers(1, 12).map(lambda n: 4 * n), seed=seeds())
def test_plainly(qx, depth: int, seed: int) -> None:
    """The variance alone, by the rule, is what the NPU makes of it on the way."""
    shape = (3, depth)
    q = _quantizations(qx, ("", 0.02, 0), 100 * qx.scale)
    x = values(qx.dtype, shape, seed)

    def rule(x: np.ndarray) -> np.ndarray:
        out = np.empty(shape, qx.dtype)
        info = np.iinfo(qx.dtype)
        for row, result in zip(x, out):
            d = centred_onnxruntime(row, *qx[1:])
            v = mean_onnxruntime([f32(a * a) for a in d])
            scale, zero_point = q["v"][1:]
            stored = min(max(int(np.rint(f32(v / f32(scale)))) + zero_point, info.min), info.max)
            sum_ = f32(f32(f32(stored - zero_point) * f32(scale)) + f32(1e-5))
            for i, a in enumerate(d):
                y = f32(f32(a / np.sqrt(sum_)) / f32(q["y"][1]))
                result[i] = min(max(int(np.rint(y)) + q["y"][2], info.min), info.max)
        return out

    check(_Parts(shape, [-1], q, "variance", "Pow").model(), [x], rule)


def _reasons(parts: _Parts) -> set[str]:
    compiled = Compilation(parts.model(), Options("warboy", 1)).run()
    return {r.rule for v in compiled.ldfg.verdicts.values() for r in v.reasons}


def test_what_runs_on_the_host() -> None:
    q = _quantizations(Quantization("int8", 0.05, 3), ("int8", 0.02, 0), 5.0)
    assert "reference-arithmetic" in _reasons(_Parts((4, 6), [-1], q, "sum", "Pow"))  # rows of 6
    assert "eight-bit-activations" in _reasons(
        _Parts((4, 8), [0], q, "sum", "Pow")
    )  # over the first dimension
    both = _Parts((4, 8), [-1], q, "sum", "Pow")
    both.outputs.append(
        helper.make_tensor_value_info("d", TensorProto.FLOAT, (4, 8))
    )  # somebody else reads it
    assert "eight-bit-activations" in _reasons(both)
    assert not _reasons(_Parts((4, 8), [-1], q, "sum", "Pow"))
