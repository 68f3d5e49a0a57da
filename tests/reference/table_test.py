"""Operators of one tensor of LiteRT and onnxruntime: all 256 values over many scales, bit for bit."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tests.reference import onnx_op, table, tflite_op
from tests.reference.random_case import RandomCase

DTYPES = ["int8", "uint8"]


def _parameters(case: RandomCase, seed: int, span: float) -> tuple[float, int, float, int]:
    """(sx, zx, sy, zy): the usual output scale of the function, span / 256, or any."""
    sx, zx = case.scale(0.003, 1.0), case.zero_point()
    if seed % 3:
        return sx, zx, span / 256, case.info.min if span == 1 else (case.info.min + case.info.max + 1) // 2
    return sx, zx, case.scale(0.001, 0.02), case.zero_point()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("operator", ["LOGISTIC", "TANH"])
@pytest.mark.parametrize("seed", range(40))
def test_tflite(seed: int, operator: str, dtype: str) -> None:
    case, x = RandomCase(seed, dtype), table.values(dtype)[None]
    function = table.sigmoid if operator == "LOGISTIC" else math.tanh
    sx, zx, sy, zy = _parameters(case, seed, 1 if operator == "LOGISTIC" else 2)
    operands = [tflite_op.Operand(x.shape, dtype, sx, zx)], tflite_op.Operand(x.shape, dtype, sy, zy)
    actual, delegated = tflite_op.run_all(tflite_op.build(operator, *operands, version=2), x)
    assert delegated
    np.testing.assert_array_equal(actual[0], table.table_xnnpack(function, sx, zx, sy, zy, dtype))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("operator", ["Sigmoid", "Tanh", "LeakyRelu", "Relu", "Clip"])
@pytest.mark.parametrize("seed", range(20))
def test_onnxruntime(seed: int, operator: str, dtype: str) -> None:
    case, x = RandomCase(seed, dtype), table.values(dtype)[None]
    alpha = float(np.float32(case.rng.uniform(0.01, 0.9)))
    function, attributes = {
        "Sigmoid": (table.sigmoid, {}),
        "Tanh": (math.tanh, {}),
        "LeakyRelu": (table.leaky_relu(alpha), {"alpha": alpha}),
        "Relu": (table.clip(0, math.inf), {}),
        "Clip": (table.clip(0, 6), {"inputs": [np.float32(0), np.float32(6)]}),
    }[operator]
    sx, zx, sy, zy = _parameters(case, seed, 1 if operator == "Sigmoid" else 2)
    if operator in ("LeakyRelu", "Relu", "Clip"):
        sy = case.near(sx)
    operands = [onnx_op.Operand(x.shape, dtype, sx, zx)], onnx_op.Operand(x.shape, dtype, sy, zy)
    actual = onnx_op.run(onnx_op.build_qdq([(operator, attributes)], *operands), x)
    np.testing.assert_array_equal(actual[0], table.table_onnxruntime(function, sx, zx, sy, zy, dtype))


@pytest.mark.parametrize("dtype", DTYPES)
def test_relu_into_its_own_range_is_a_requantisation(dtype: str) -> None:
    """Where the output's zero point is the lowest value, Relu adds nothing to the saturation of QuantizeLinear."""
    case = RandomCase(0, dtype)
    sx, zx, low = case.scale(), case.zero_point(), np.iinfo(dtype).min
    with_relu = table.table_onnxruntime(table.clip(0, math.inf), sx, zx, 0.3, low, dtype)
    np.testing.assert_array_equal(with_relu, table.table_onnxruntime(table.identity, sx, zx, 0.3, low, dtype))
