"""ONNX: LayerNormalization, RMSNormalization and its older name, with the numbers of onnxruntime's kernel bit for bit."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from furiosa.compiler.pipeline import Compilation, Options
from tests.properties.harness import Machine, bounded, check
from tests.properties.strategies import machines, quantizations, seeds, shapes, values
from tests.reference import onnx_op
from tests.reference.layer_norm import layer_norm_onnxruntime
from tests.reference.rounding import f32

PLAIN = 2048  # elements beyond which the rule, which computes value by value, is not asked


def _model(operator: str, shape: tuple, qx, qy, axis: int, operands: list, epsilon: float) -> bytes:
    opset = 23 if operator == "RMSNormalization" else 17
    y = onnx_op.Operand(shape, *qy)
    inputs = [onnx_op.Operand(shape, *qx), *operands]
    return onnx_op.build_qdq(operator, inputs, y, opset, axis=axis, epsilon=epsilon)


@pytest.mark.parametrize(
    "operator", ["LayerNormalization", "RMSNormalization", "SimplifiedLayerNormalization"]
)
@bounded(40)
@given(
    machine=machines(),
    qx=quantizations(low=2.0**-9),
    qy=quantizations(low=2.0**-9, high=2.0**-3),
    lead=shapes(0, 3, max_elements=300),
    depth=st.one_of(st.integers(8, 40), st.sampled_from((64, 96, 100, 192, 300, 768, 1024))),
    split=st.booleans(),
    kinds=st.tuples(st.sampled_from(("float32", "int8", "uint8")), st.sampled_from(("float32", "int32", ""))),
    epsilon=st.sampled_from((1e-5, 1e-6, 1e-12, 0.1)),
    seed=seeds(),
)
def test_normalizations(
    operator: str, machine: Machine, qx, qy, lead, depth: int, split: bool, kinds, epsilon: float, seed: int
) -> None:
    """Rows of any length and of one or two dimensions; weights and biases real, quantised or left out; flat rows among others."""
    rng = np.random.default_rng(seed)
    rows = (depth // 2, 2) if split and depth % 2 == 0 else (depth,)
    shape = (*lead, *rows)
    real, operands = [np.ones(depth, f32), np.zeros(depth, f32)], []
    for i, kind in enumerate(kinds if operator == "LayerNormalization" else kinds[:1]):
        if not kind:
            continue
        data, scale, zero_point = rng.normal(1 - i, 0.5, depth).astype(f32), None, 0
        real[i] = data
        if kind != "float32":
            bits = 1 << 20 if kind == "int32" else 100
            scale, zero_point = float(f32(2 / bits)), 7 if kind == "uint8" else 0
            data = np.clip(np.rint(data / f32(scale)) + zero_point, 0 if kind == "uint8" else -bits, bits)
            data = data.astype(kind)
            real[i] = f32(scale) * (data.astype(np.int64) - zero_point).astype(f32)
        operands.append(onnx_op.Operand(rows, kind, scale, zero_point, data.reshape(rows)))
    model = _model(operator, shape, qx, qy, -len(rows), operands, epsilon)
    x = values(qx.dtype, shape, seed).reshape(-1, depth)
    x[:: 1 + seed % 5] = qx.zero_point  # rows without variance
    if seed % 2:
        x[1 : 2 + seed % 3] = np.clip(x[1 : 2 + seed % 3], qx.zero_point, qx.zero_point + 1)

    def rule(x: np.ndarray) -> np.ndarray:
        flat = x.reshape(-1, depth)
        mean = operator == "LayerNormalization"
        return layer_norm_onnxruntime(flat, qx[1:], *real, epsilon, tuple(qy), mean).reshape(shape)

    plain = rule if math.prod(shape) <= PLAIN else None
    check(model, [x.reshape(shape)], plain, machine=machine)


def _rules(model: bytes) -> set[tuple[str, str]]:
    compiled = Compilation(model, Options("warboy", 1)).run()
    return {(r.rule, r.actual) for v in compiled.ldfg.verdicts.values() for r in v.reasons}


def test_what_runs_on_the_host() -> None:
    qx, qy = ("int8", 0.05, 3), ("int8", 0.02, 0)
    one = onnx_op.Operand((7,), "float32", data=np.ones(7, f32))
    assert _rules(_model("LayerNormalization", (4, 7), qx, qy, -1, [one], 1e-5)) == {
        ("reference-arithmetic", "rows of 7 values, which onnxruntime normalises in another way")
    }
    many = onnx_op.Operand((8,), "float32", data=np.full(8, np.inf, f32))
    assert _rules(_model("LayerNormalization", (4, 8), qx, qy, -1, [many], 1e-5)) == {
        ("supported-attributes", "weights that are not finite")
    }
    computed = onnx_op.Operand((8,), "float32")
    found = _rules(_model("LayerNormalization", (4, 8), qx, qy, -1, [computed], 1e-5))
    assert {rule for rule, _ in found} == {"beside-host", "constant-parameters", "eight-bit-activations"}
    even = onnx_op.Operand((8,), "float32", data=np.ones(8, f32))
    assert _rules(_model("LayerNormalization", (4, 8), qx, qy, -1, [even], 0.0)) == {
        ("fits-command", "epsilon 0.0")
    }
