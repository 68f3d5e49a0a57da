"""Pooling and MEAN of LiteRT, and the pools of onnxruntime, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest

from tests.reference import conv, onnx_op, pool, rounding, tflite_op
from tests.reference.random_case import RandomCase
from tests.reference.tflite_op import options

DTYPES = ["int8", "uint8"]
ACTIVATIONS = {"NONE": 0, "RELU": 1, "RELU6": 3}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("seed", range(25))
def test_tflite_pools(seed: int, dtype: str) -> None:
    case = RandomCase(seed, dtype)
    x = case.tensor(1, *case.rng.integers(3, 14, 2), int(case.rng.integers(1, 40)))
    kernel = [int(case.rng.integers(1, size + 1)) for size in x.shape[1:3]]
    stride, same = int(case.rng.integers(1, 4)), bool(case.rng.integers(0, 2))
    scale, zero_point = case.scale(), case.zero_point()
    activation = str(case.rng.choice(list(ACTIVATIONS)))
    pad, out = (0, 0), [-(-(size - k + 1) // stride) for size, k in zip(x.shape[1:3], kernel)]
    if same:
        out = [-(-size // stride) for size in x.shape[1:3]]
        pad = tuple(conv.same_padding(size, k, stride)[0] for size, k in zip(x.shape[1:3], kernel))
    option = options(
        "Pool2DOptions",
        padding=0 if same else 1,
        strideH=stride,
        strideW=stride,
        filterHeight=kernel[0],
        filterWidth=kernel[1],
        fusedActivationFunction=ACTIVATIONS[activation],
    )
    operand = tflite_op.Operand(x.shape, dtype, scale, zero_point)
    output = tflite_op.Operand((1, *out, x.shape[3]), dtype, scale, zero_point)
    actual, delegated = tflite_op.run_all(tflite_op.build("AVERAGE_POOL_2D", [operand], output, option, 2), x)
    assert not delegated
    bounds = rounding.activation_bounds_builtin(activation, scale, zero_point, dtype)
    expected = pool.average_pool_builtin(x, out, kernel, (stride, stride), pad, bounds)
    np.testing.assert_array_equal(actual, expected)
    actual, delegated = tflite_op.run_all(tflite_op.build("MAX_POOL_2D", [operand], output, option, 2), x)
    if delegated:  # all but kernels of one element and of strides larger than the kernel
        bounds = rounding.activation_bounds_xnnpack(activation, scale, zero_point, dtype)
    np.testing.assert_array_equal(actual, pool.max_pool(x, out, kernel, (stride, stride), pad, bounds))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("axes", [(1, 2), (2, 1), (1,), (3,), (1, 2, 3)])
@pytest.mark.parametrize("seed", range(12))
def test_tflite_mean(seed: int, axes: tuple[int, ...], dtype: str) -> None:
    case = RandomCase(seed, dtype)
    x = case.peaked(2, *case.rng.integers(1, 15, 2), int(case.rng.integers(1, 200)))
    sx, zx, zy, keep_dims = case.scale(), case.zero_point(), case.zero_point(), bool(seed % 2)
    sy = case.near(sx) if seed % 3 else case.scale()
    expected = pool.mean_xnnpack(x, axes, keep_dims, sx, zx, sy, zy)
    indices = tflite_op.Operand((len(axes),), "int32", data=np.array(axes, np.int32))
    output = tflite_op.Operand(expected.shape, dtype, sy, zy)
    option = options("ReducerOptions", keepDims=keep_dims)
    operands = [tflite_op.Operand(x.shape, dtype, sx, zx), indices]
    actual, delegated = tflite_op.run_all(tflite_op.build("MEAN", operands, output, option, 2), x)
    assert delegated
    np.testing.assert_array_equal(actual, expected)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("seed", range(30))
def test_onnxruntime_pools(seed: int, dtype: str) -> None:
    """AveragePool with any padding, count_include_pad and ceil_mode; GlobalAveragePool; MaxPool."""
    case = RandomCase(seed, dtype)
    channels, height, width = (int(v) for v in case.rng.integers(1, [60, 16, 16]))
    x = case.peaked(1, channels, height, width)
    nhwc = x.transpose(0, 2, 3, 1)
    sx, zx, zy = case.scale(), case.zero_point(), case.zero_point()
    sy = case.near(sx) if seed % 2 else case.scale()
    operand = onnx_op.Operand(x.shape, dtype, sx, zx)

    output = onnx_op.Operand((1, channels, 1, 1), dtype, sy, zy)
    actual, operators = onnx_op.run_all(onnx_op.build_qdq("GlobalAveragePool", [operand], output), x)
    assert operators == ["QLinearGlobalAveragePool"]
    expected = pool.global_average_pool_onnxruntime(nhwc, sx, zx, sy, zy)
    np.testing.assert_array_equal(actual, expected.transpose(0, 3, 1, 2))

    kernel = [int(case.rng.integers(1, min(size, 5) + 1)) for size in (height, width)]
    pads = [int(case.rng.integers(0, k)) for k in kernel * 2] if seed % 3 else [0, 0, 0, 0]
    stride, include, ceil = int(case.rng.integers(1, 4)), bool(seed % 2), bool(case.rng.integers(0, 2))
    out = []
    for size, k, before, after in zip((height, width), kernel, pads[:2], pads[2:]):
        space = size + before + after - k
        count = (-(-space // stride) if ceil else space // stride) + 1
        out.append(
            count - (ceil and (count - 1) * stride >= size + before)
        )  # a window starts inside the image
    fields = {"kernel_shape": kernel, "strides": [stride, stride], "pads": pads, "ceil_mode": int(ceil)}
    output = onnx_op.Operand((1, channels, *out), dtype, sy, zy)
    model = onnx_op.build_qdq("AveragePool", [operand], output, count_include_pad=int(include), **fields)
    actual, operators = onnx_op.run_all(model, x)
    assert "QLinearAveragePool" in operators
    expected = pool.average_pool_onnxruntime(
        nhwc, out, kernel, (stride, stride), pads[:2], include, sx, zx, sy, zy
    )
    np.testing.assert_array_equal(actual, expected.transpose(0, 3, 1, 2))

    output = onnx_op.Operand((1, channels, *out), dtype, sx, zx)
    actual, operators = onnx_op.run_all(onnx_op.build_qdq("MaxPool", [operand], output, **fields), x)
    assert operators == ["MaxPool"]
    expected = pool.max_pool(nhwc, out, kernel, (stride, stride), pads[:2])
    np.testing.assert_array_equal(actual, expected.transpose(0, 3, 1, 2))
