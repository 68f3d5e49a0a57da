"""SOFTMAX of LiteRT and Softmax of onnxruntime, bit for bit."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tests.reference import onnx_op, softmax, tflite_op
from tests.reference.random_case import RandomCase
from tests.reference.tflite_op import options

DTYPES = ["int8", "uint8"]
CLASSES = [1, 2, 3, 4, 5, 7, 10, 21, 33, 100, 1001]


def _rows(case: RandomCase, classes: int) -> tuple[np.ndarray, float]:
    """Rows and an input scale; half of the cases have powers of two as exponentials, which makes ties."""
    count = max(3, 2000 // classes)
    if case.rng.random() < 0.5:
        low = int(case.rng.integers(case.info.min, case.info.max - 12))
        x = case.rng.integers(low, low + 13, (count, classes)).astype(case.dtype)
        return x, float(np.float32(math.log(2) / case.rng.choice([1, 2, 4])))
    return case.peaked(count, classes), case.scale(0.005, 1.0)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("classes", CLASSES)
@pytest.mark.parametrize("seed", range(4))
def test_tflite(seed: int, classes: int, dtype: str) -> None:
    case = RandomCase(seed, dtype)
    x, scale = _rows(case, classes)
    beta = float(case.rng.choice([1.0, 1.0, 0.5, 2.0]))
    model = tflite_op.build(
        "SOFTMAX",
        [tflite_op.Operand(x.shape, dtype, scale, case.zero_point())],
        tflite_op.Operand(x.shape, dtype, 1 / 256, case.info.min),
        options("SoftmaxOptions", beta=beta),
        version=2,
    )
    np.testing.assert_array_equal(tflite_op.run(model, x), softmax.softmax_builtin(x, scale, beta))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("classes", CLASSES)
@pytest.mark.parametrize("seed", range(4))
def test_onnxruntime(seed: int, classes: int, dtype: str) -> None:
    case = RandomCase(seed, dtype)
    x, sx = _rows(case, classes)
    sy, zy = 1 / 256, case.info.min
    if seed % 2:
        sy, zy = float(np.float32(case.rng.uniform(0.002, 0.01))), case.zero_point()
    operands = (
        [onnx_op.Operand(x.shape, dtype, sx, case.zero_point())],
        onnx_op.Operand(x.shape, dtype, sy, zy),
    )
    actual, operators = onnx_op.run_all(onnx_op.build_qdq("Softmax", *operands, axis=-1), x)
    assert operators == ["QLinearSoftmax"]
    np.testing.assert_array_equal(actual, softmax.softmax_onnxruntime(x, sx, sy, zy))


@pytest.mark.parametrize("dtype", DTYPES)
def test_onnxruntime_along_another_axis(dtype: str) -> None:
    """From opset 13 on, softmax along axis 1 of [N,C,H,W] is that of the tensor with C last."""
    case = RandomCase(0, dtype)
    x, zy = case.tensor(2, 11, 3, 5), case.info.min
    operands = [onnx_op.Operand(x.shape, dtype, 0.1, 3)], onnx_op.Operand(x.shape, dtype, 1 / 256, zy)
    actual = onnx_op.run(onnx_op.build_qdq("Softmax", *operands, axis=1), x)
    expected = softmax.softmax_onnxruntime(x.transpose(0, 2, 3, 1), 0.1, 1 / 256, zy)
    np.testing.assert_array_equal(actual, expected.transpose(0, 3, 1, 2))
