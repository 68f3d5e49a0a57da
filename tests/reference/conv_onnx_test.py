"""Conv, Gemm and MatMul in QDQ and QOperator form against onnxruntime, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest

from tests.reference import conv, onnx_op
from tests.reference.onnx_op import Operand
from tests.reference.random_case import RandomCase

# onnxruntime runs int8 activations with uint8 weights in float, so no integer rule holds there
TYPES = [("int8", "int8"), ("uint8", "int8"), ("uint8", "uint8")]


def _scales(
    case: RandomCase, weight: RandomCase, channels: int, per_channel: bool
) -> tuple[np.ndarray, np.ndarray]:
    count = channels if per_channel else 1
    scales = np.exp(case.rng.uniform(-6, -2, count)).astype(np.float32)
    zero = weight.zero_point() if weight.dtype == "uint8" or not per_channel else 0
    return scales, np.full(count, zero, weight.dtype)


def _weights(w: np.ndarray, dtype: str, scales: np.ndarray, zero_points: np.ndarray, axis: int) -> Operand:
    if len(scales) == 1:
        return Operand(w.shape, dtype, scales[0], zero_points[0], w)
    return Operand(w.shape, dtype, scales, zero_points, w, axis)


def _bias(bias: np.ndarray, sx: float, scales: np.ndarray) -> Operand:
    scale = np.float32(sx) * scales
    return Operand(
        bias.shape, "int32", scale[0] if len(scale) == 1 else scale, 0, bias, None if len(scale) == 1 else 0
    )


def _output_scale(case: RandomCase, accumulator: np.ndarray, sx: float, scales: np.ndarray) -> float:
    spread = float(np.abs(accumulator * scales.astype(np.float64)).std()) * sx + 1e-3
    return float(np.float32(spread / case.rng.uniform(20, 90)))


@pytest.mark.parametrize(("dtype", "weight_dtype"), TYPES)
@pytest.mark.parametrize("seed", range(20))
def test_conv(seed: int, dtype: str, weight_dtype: str) -> None:
    case, weight = RandomCase(seed, dtype), RandomCase(seed, weight_dtype)
    groups = int(case.rng.choice([1, 1, 2, 4]))
    depth, channels = int(case.rng.integers(1, 12)), int(case.rng.integers(1, 12)) * groups
    if seed % 4 == 0:
        groups, depth, channels = (n := int(case.rng.integers(2, 40))), 1, n
    stride, dilation = int(case.rng.integers(1, 3)), int(case.rng.choice([1, 1, 2]))
    x = case.tensor(1, groups * depth, *case.rng.integers(6, 20, 2))
    w = weight.tensor(channels, depth, *case.rng.integers(1, 4, 2))
    bias = case.rng.integers(-3000, 3000, channels).astype(np.int32)
    pads = [int(v) for v in case.rng.integers(0, 3, 4)]
    sx, zx, zy = case.scale(0.01, 1.0), case.zero_point(), case.zero_point()
    scales, zero_points = _scales(case, weight, channels, bool(seed % 3))
    accumulator = conv.accumulate(
        x.transpose(0, 2, 3, 1),
        w.transpose(0, 2, 3, 1),
        bias,
        zx,
        zero_points.astype(np.int64),
        (stride, stride),
        (dilation, dilation),
        pads,
        groups,
    )
    sy = _output_scale(case, accumulator, sx, scales)
    expected = conv.requantize(accumulator, conv.multipliers(sx, scales, sy), zy, dtype).transpose(0, 3, 1, 2)
    operand, output = Operand(x.shape, dtype, sx, zx), Operand(expected.shape, dtype, sy, zy)
    weights = _weights(w, weight_dtype, scales, zero_points, 0)
    fields = {"pads": pads, "strides": [stride] * 2, "dilations": [dilation] * 2, "group": groups}
    model = onnx_op.build_qdq("Conv", [operand, weights, _bias(bias, sx, scales)], output, **fields)
    actual, operators = onnx_op.run_all(model, x)
    assert "QLinearConv" in operators
    np.testing.assert_array_equal(actual, expected)
    model = onnx_op.build_qoperator("QLinearConv", [operand, weights], output, bias, **fields)
    np.testing.assert_array_equal(onnx_op.run(model, x), expected)


@pytest.mark.parametrize(("dtype", "weight_dtype"), TYPES)
@pytest.mark.parametrize("seed", range(20))
def test_gemm_and_matmul(seed: int, dtype: str, weight_dtype: str) -> None:
    case, weight = RandomCase(seed, dtype), RandomCase(seed, weight_dtype)
    rows, depth, channels = (int(v) for v in case.rng.integers(1, [30, 400, 60]))
    x, w = case.tensor(rows, depth), weight.tensor(channels, depth)
    bias = case.rng.integers(-3000, 3000, channels).astype(np.int32)
    sx, zx, zy = case.scale(0.01, 1.0), case.zero_point(), case.zero_point()
    scales, zero_points = _scales(case, weight, channels, bool(seed % 3))
    accumulator = (x.astype(np.int64) - zx) @ (w.astype(np.int64) - zero_points[:, None].astype(np.int64)).T
    sy = _output_scale(case, accumulator, sx, scales)
    operand, output = Operand(x.shape, dtype, sx, zx), Operand((rows, channels), dtype, sy, zy)

    weights = _weights(w, weight_dtype, scales, zero_points, 0)
    actual, operators = onnx_op.run_all(
        onnx_op.build_qdq("Gemm", [operand, weights, _bias(bias, sx, scales)], output, transB=1), x
    )
    assert operators == ["QGemm"]
    multiplier = conv.multipliers(sx, scales, sy)
    np.testing.assert_array_equal(actual, conv.requantize(accumulator + bias, multiplier, zy, dtype))

    weights = _weights(np.ascontiguousarray(w.T), weight_dtype, scales, zero_points, 1)
    actual, operators = onnx_op.run_all(onnx_op.build_qdq("MatMul", [operand, weights], output), x)
    assert operators == ["QLinearMatMul"]
    np.testing.assert_array_equal(actual, conv.requantize(accumulator, multiplier, zy, dtype))
    qoperator = onnx_op.build_qoperator("QLinearMatMul", [operand, weights], output)
    np.testing.assert_array_equal(onnx_op.run(qoperator, x), actual)


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
def test_relu_that_the_output_range_implies_is_dropped(dtype: str) -> None:
    """Conv, Relu, QuantizeLinear with the lowest value as zero point is one QLinearConv: saturation does the Relu."""
    case = RandomCase(1, dtype)
    x, w = case.tensor(1, 5, 9, 9), RandomCase(2, "int8").tensor(4, 5, 3, 3)
    accumulator = conv.accumulate(x.transpose(0, 2, 3, 1), w.transpose(0, 2, 3, 1), None, 3)
    scales, low = np.full(1, 0.02, np.float32), case.info.min
    sy = _output_scale(case, accumulator, 0.1, scales)
    expected = conv.requantize(accumulator, conv.multipliers(0.1, scales, sy), low, dtype).transpose(
        0, 3, 1, 2
    )
    operands = [Operand(x.shape, dtype, 0.1, 3), Operand(w.shape, "int8", 0.02, 0, w)]
    model = onnx_op.build_qdq([("Conv", {}), ("Relu", {})], operands, Operand(expected.shape, dtype, sy, low))
    actual, operators = onnx_op.run_all(model, x)
    assert "QLinearConv" in operators
    np.testing.assert_array_equal(actual, expected)
