"""Tensors of no elements, in both formats: they run on the host, and the result is the reference runtime's."""

from __future__ import annotations

import numpy as np
import pytest

from furiosa.compiler.frontend.onnx import testing as onnx_testing
from furiosa.compiler.frontend.onnx.testing import tensor
from furiosa.compiler.frontend.tflite import testing as tflite_testing
from furiosa.compiler.frontend.tflite.testing import ModelBuilder, options
from furiosa.compiler.pipeline import Compilation, Options
from furiosa.enf import container
from furiosa.runtime import session

TARGETS = ("warboy", "warboy-2pe")
SCALE, ZERO = tensor("s", 0.5, "float32"), tensor("z", 0, "int8")
CONSTANTS = {
    "Concat<axis=0>": tensor("k", np.ones((1, 4, 3, 3)), "int8"),
    "Conv": tensor("k", np.ones((2, 4, 1, 1)), "int8"),
}


def compiled(data: bytes, target: str) -> bytes:
    """The ENF of a model, all of which must stand on the host."""
    compilation = Compilation(data, Options(target)).run()
    assert {v.placed_on for v in compilation.ldfg.verdicts.values()} == {"host"}
    return container.to_bytes(compilation.enf)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(
    ("op", "arguments", "out"),
    [
        ("Relu", "a", "0,4,3,3"),
        ("Add", "a, a", "0,4,3,3"),
        ("GlobalAveragePool", "a", "0,4,1,1"),
        ("MaxPool<kernel_shape=[2,2]>", "a", "0,4,2,2"),
        ("Transpose<perm=[0,2,3,1]>", "a", "0,3,3,4"),
        ("Flatten", "a", "0,36"),
        ("Concat<axis=0>", "a, b", "1,4,3,3"),
        ("Conv", "a, b", "0,2,3,3"),
    ],
)
def test_onnx(op: str, arguments: str, out: str, target: str) -> None:
    second = "b = DequantizeLinear(k, s, z)" if "b" in arguments else ""
    data = onnx_testing.model(
        f"""g (int8[0,4,3,3] x) => (int8[{out}] y) {{
            a = DequantizeLinear(x, s, z) {second}
            f = {op}({arguments})
            y = QuantizeLinear(f, s, z)
        }}""",
        SCALE,
        ZERO,
        *([CONSTANTS[op]] if second else []),
    )
    x = np.zeros((0, 4, 3, 3), np.int8)
    with session.create(compiled(data, target)) as sess:
        assert sess.input(0).shape == x.shape and sess.input(0).size == 0
        np.testing.assert_array_equal(sess.run(x)[0].numpy(), onnx_testing.run(data, {"x": x})[0])


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("op", ["ADD", "CONCATENATION", "RELU"])
def test_tflite(op: str, target: str) -> None:
    b = ModelBuilder()
    x = b.tensor("x", [0, 4], scale=0.5)
    k = b.tensor("k", [2, 4], data=np.ones((2, 4)), scale=0.5)
    y = b.tensor("y", [2 if op == "CONCATENATION" else 0, 4], scale=0.5)
    match op:
        case "ADD":
            b.operator(op, [x, x], [y], options("AddOptions"))
        case "CONCATENATION":
            b.operator(op, [x, k], [y], options("ConcatenationOptions", axis=0))
        case _:
            b.operator(op, [x], [y])
    data, value = b.build([x], [y]), np.zeros((0, 4), np.int8)
    with session.create(compiled(data, target)) as sess:
        (expected,) = tflite_testing.run(data, [value])
        np.testing.assert_array_equal(sess.run(value)[0].numpy(), expected)


@pytest.mark.parametrize("target", TARGETS)
def test_beside_work_for_the_npu(target: str) -> None:
    """Empty inputs and outputs, and a concatenation with nothing, in a model with a convolution."""
    data = onnx_testing.model(
        """g (int8[1,4,8,8] x, float[0,3] e, int64[0] i) => (int8[1,4,8,8] y, float[0,3] f, float[2,3] k2, int64[0] j) {
            a = DequantizeLinear(x, s, z)  b = DequantizeLinear(w, s, z)  c = Conv(a, b)  y = QuantizeLinear(c, s, z)
            f = Neg(e)  k2 = Concat<axis = 0>(f, k)  j = Identity(i)
        }""",
        SCALE,
        ZERO,
        tensor("w", np.eye(4).reshape(4, 4, 1, 1) * 2, "int8"),
        tensor("k", np.ones((2, 3)), "float32"),
    )
    compilation = Compilation(data, Options(target)).run()
    assert {v.placed_on for v in compilation.ldfg.verdicts.values()} == {"host", "npu"}
    x = np.random.default_rng(0).integers(-99, 99, (1, 4, 8, 8)).astype(np.int8)
    inputs = {"x": x, "e": np.zeros((0, 3), np.float32), "i": np.zeros(0, np.int64)}
    with session.create(container.to_bytes(compilation.enf)) as sess:
        actual = sess.run(list(inputs.values())).numpy()
    for a, e in zip(actual, onnx_testing.run(data, inputs), strict=True):
        assert a.dtype == e.dtype
        np.testing.assert_array_equal(a, e)
