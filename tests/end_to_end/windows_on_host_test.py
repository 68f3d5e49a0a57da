"""Window operators that stay on the host: the rule that says why, and the reference runtime's own numbers."""

from __future__ import annotations

import numpy as np
import pytest

from furiosa.compiler.pipeline import Compilation, Options
from furiosa.enf import container
from furiosa.runtime import session
from tests.properties.harness import run
from tests.reference import onnx_op, tflite_op

rng = np.random.default_rng(11)
Case = tuple[bytes, tuple[int, ...], str]


def _data(*shape: int) -> np.ndarray:
    return rng.integers(-128, 128, shape).astype(np.int8)


def _onnx(op_type: str, x: tuple[int, ...], w: tuple[int, ...] | None = None, **fields: object) -> bytes:
    operands = [onnx_op.Operand(x, "int8", 0.1, 3)]
    if w is not None:
        operands.append(onnx_op.Operand(w, "int8", 0.02, 0, _data(*w)))
    chain = fields.pop("chain", [])
    opset = fields.pop("opset", 13)
    output = onnx_op.Operand(None, "int8", 0.3, -4)
    return onnx_op.build_qdq([(op_type, fields), *chain], operands, output, opset=opset)


def _transpose_conv() -> bytes:
    w = _data(3, 2, 2, 4)
    shape = np.array([1, 12, 12, 3], np.int32)
    inputs = [
        tflite_op.Operand((4,), "int32", data=shape),
        tflite_op.Operand(w.shape, "int8", np.full(3, 0.02), 0, w),
        tflite_op.Operand((1, 4, 4, 4), "int8", 0.1, 3),
        tflite_op.Operand((3,), "int32", np.full(3, 0.002), 0, np.zeros(3, np.int32)),
    ]
    option = tflite_op.options("TransposeConvOptions", padding=0, strideH=3, strideW=3)
    return tflite_op.build("TRANSPOSE_CONV", inputs, tflite_op.Operand(tuple(shape), "int8", 0.3, -4), option)


def _resize_of_another_scale() -> bytes:
    inputs = [
        tflite_op.Operand((1, 4, 4, 3), "int8", 0.1, 3),
        tflite_op.Operand((2,), "int32", data=np.array([8, 7], np.int32)),
    ]
    option = tflite_op.options("ResizeNearestNeighborOptions")
    output = tflite_op.Operand((1, 8, 7, 3), "int8", 0.2, 3)
    return tflite_op.build("RESIZE_NEAREST_NEIGHBOR", inputs, output, option, 3)


_SIZES = {"inputs": [np.zeros(0, np.float32), np.array([1, 1, 2, 2], np.float32)]}
CASES = {
    "convolution in three dimensions": lambda: (
        _onnx("Conv", (1, 2, 5, 6, 7), (3, 2, 2, 3, 2)),
        (1, 2, 5, 6, 7),
        "two-dimensional",
    ),
    "129 groups": lambda: (
        _onnx("Conv", (1, 258, 5, 5), (129, 2, 3, 3), group=129),
        (1, 258, 5, 5),
        "group-limit",
    ),
    "dilation 13": lambda: (
        _onnx("Conv", (1, 3, 30, 30), (4, 3, 2, 2), dilations=[13, 1]),
        (1, 3, 30, 30),
        "dilation-limit",
    ),
    "SAME padding and a large stride": lambda: (
        _onnx("AveragePool", (1, 3, 9, 9), kernel_shape=[1, 1], strides=[3, 3], auto_pad="SAME_UPPER"),
        (1, 3, 9, 9),
        "supported-attributes",
    ),
    "cubic resizing": lambda: (
        _onnx("Resize", (1, 3, 5, 5), mode="cubic", **_SIZES),
        (1, 3, 5, 5),
        "supported-attributes",
    ),
    "resizing with antialias": lambda: (
        _onnx("Resize", (1, 3, 5, 5), mode="linear", antialias=1, opset=18, **_SIZES),
        (1, 3, 5, 5),
        "supported-attributes",
    ),
    "TRANSPOSE_CONV by the builtin kernel": lambda: (_transpose_conv(), (1, 4, 4, 4), "reference-arithmetic"),
    "RESIZE_NEAREST_NEIGHBOR to another scale": lambda: (
        _resize_of_another_scale(),
        (1, 4, 4, 3),
        "reference-arithmetic",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_on_the_host(case: str) -> None:
    model, shape, rule = CASES[case]()
    compiled = Compilation(model, Options()).run()
    failed = {r.rule for v in compiled.ldfg.verdicts.values() for r in v.reasons}
    assert rule in failed
    x = _data(*shape)
    with session.create(container.to_bytes(compiled.enf), device="npu0pe0-1") as sess:
        np.testing.assert_array_equal(sess.run([x])[0].numpy(), run(model, [x])[0])
