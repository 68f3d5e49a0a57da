"""A quantised attention layer: products of activations, Softmax, a mean and a norm, all on the NPU."""

from __future__ import annotations

import numpy as np
import onnx
import onnx.parser
import pytest

from furiosa.compiler import pipeline
from furiosa.enf import reader
from furiosa.runtime import session
from tests.reference.onnx_op import run

HEADS, LENGTH, WIDTH = 4, 24, 16

# (name, operator, scale): each value is quantised and read again as a real number; int8 with zero point 0, Softmax's with -128
_STEPS = (
    ("x", "", 0.05),
    ("query", "MatMul (x, wq)", 0.4),
    ("key", "MatMul (x, wk)", 0.4),
    ("value", "MatMul (x, wv)", 0.4),
    ("query4", "Reshape (query, split)", 0.4),
    ("key4", "Reshape (key, split)", 0.4),
    ("value4", "Reshape (value, split)", 0.4),
    ("query_heads", "Transpose <perm = [0, 2, 1, 3]> (query4)", 0.4),
    ("key_heads", "Transpose <perm = [0, 2, 3, 1]> (key4)", 0.4),
    ("value_heads", "Transpose <perm = [0, 2, 1, 3]> (value4)", 0.4),
    ("scores", "MatMul (query_heads, key_heads)", 16.0),
    ("scaled", "Mul (scores, factor)", 0.125),
    ("weights", "Softmax <axis = -1> (scaled)", 1 / 256),
    ("mixed", "MatMul (weights, value_heads)", 0.25),
    ("joined", "Transpose <perm = [0, 2, 1, 3]> (mixed)", 0.25),
    ("flat", "Reshape (joined, join)", 0.25),
    ("pooled", "ReduceMean <axes = [1], keepdims = 0> (flat)", 0.125),
    ("y", "LpNormalization <axis = -1, p = 2> (pooled)", 1 / 128),
)


def attention() -> bytes:
    """x int8 [1, LENGTH, HEADS * WIDTH] -> y int8 [1, HEADS * WIDTH]."""
    depth = HEADS * WIDTH
    rng = np.random.default_rng(0)
    nodes, constants = [], {}

    def dequantized(name: str, scale: float, zero_point: int) -> None:
        constants[f"{name}_s"], constants[f"{name}_z"] = np.float32(scale), np.int8(zero_point)
        nodes.append(f"{name}_d = DequantizeLinear ({name}, {name}_s, {name}_z)")

    for name in ("wq", "wk", "wv"):
        constants[name] = rng.integers(-127, 128, (depth, depth)).astype(np.int8)
        dequantized(name, 0.01, 0)
    constants["factor"] = np.int8(64)
    dequantized("factor", 0.25 / 64, 0)
    constants["split"] = np.array([1, LENGTH, HEADS, WIDTH], np.int64)
    constants["join"] = np.array([1, LENGTH, depth], np.int64)
    for name, step, scale in _STEPS:
        if step:
            operator, _, inputs = step.rpartition("(")
            names = [i.strip(" )") for i in inputs.split(",")]
            real = ", ".join(i if i in ("split", "join") else f"{i}_d" for i in names)
            nodes += [
                f"{name}_f = {operator}({real})",
                f"{name} = QuantizeLinear ({name}_f, {name}_s, {name}_z)",
            ]
        dequantized(name, scale, -128 if name == "weights" else 0)
    nodes.pop()  # nobody reads y as a real number
    body = "\n".join(nodes)
    model = onnx.parser.parse_model(
        f'<ir_version: 8, opset_import: ["": 13]> g (int8[1,{LENGTH},{depth}] x) => (int8[1,{depth}] y) {{ {body} }}'
    )
    model.graph.initializer.extend(onnx.numpy_helper.from_array(np.array(v), k) for k, v in constants.items())
    return model.SerializeToString()


@pytest.mark.parametrize("target, device", [("warboy", "npu0pe0"), ("warboy-2pe", "npu0pe0-1")])
def test_attention(target: str, device: str) -> None:
    model = attention()
    enf = pipeline.compile_model(model, target_npu=target)
    assert reader.load(enf).metadata.host_operators == 0
    x = np.random.default_rng(1).integers(-128, 128, (1, LENGTH, HEADS * WIDTH)).astype(np.int8)
    with session.create(enf, device=device) as sess:
        actual = sess.run([x])[0].numpy()
    expected = run(model, x)
    assert len(np.unique(expected)) > 30
    np.testing.assert_array_equal(actual, expected)
