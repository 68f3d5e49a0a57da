"""Convolution, depthwise and fully connected against LiteRT's default kernels, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest

from tests.reference import conv, rounding, tflite_op
from tests.reference.tflite_op import Operand, options

ACTIVATIONS = {"NONE": 0, "RELU": 1, "RELU_N1_TO_1": 2, "RELU6": 3}


def _case(rng: np.random.Generator, dtype: str) -> dict:
    info = np.iinfo(dtype)
    return {
        "zx": int(rng.integers(info.min, info.max + 1)),
        "zw": int(rng.integers(0, 256)) if dtype == "uint8" else 0,
        "zy": int(rng.integers(info.min, info.max + 1)),
        "sx": float(np.float32(np.exp(rng.uniform(-5, 0)))),
        "activation": str(rng.choice(list(ACTIVATIONS))),
    }


def _draw(rng: np.random.Generator, dtype: str, shape: tuple[int, ...]) -> np.ndarray:
    info = np.iinfo(dtype)
    low = info.min if dtype == "uint8" or rng.random() < 0.3 else -127
    return rng.integers(low, info.max + 1, shape).astype(dtype)


def _weight_scales(rng: np.random.Generator, dtype: str, count: int) -> np.ndarray:
    scales = np.exp(rng.uniform(-6, -2, count if dtype == "int8" else 1)).astype(np.float32)
    return scales


def _output_scale(rng: np.random.Generator, accumulator: np.ndarray, case: dict, scales: np.ndarray) -> float:
    """An output scale that leaves most results inside the 8-bit range and saturates some."""
    spread = float(np.abs(accumulator * scales.astype(np.float64)).std()) * case["sx"] + 1e-3
    return float(np.float32(spread / rng.uniform(20, 90)))


def _check(operator: str, x, w, bias, accumulator, case, scales, dtype, rng, option, axis=0) -> int:
    sy = _output_scale(rng, accumulator, case, scales)
    option.fusedActivationFunction = ACTIVATIONS[case["activation"]]
    inputs = [
        Operand(x.shape, dtype, case["sx"], case["zx"]),
        Operand(w.shape, dtype, scales, case["zw"], w, axis),
    ]
    if bias is not None:
        inputs.append(Operand(bias.shape, "int32", np.float32(case["sx"]) * scales, 0, bias))
    else:
        inputs.append(None)
    output = Operand(accumulator.shape, dtype, sy, case["zy"])
    actual, delegated = tflite_op.run_all(tflite_op.build(operator, inputs, output, option), x)
    bounds = rounding.activation_bounds_xnnpack(case["activation"], sy, case["zy"], dtype)
    expected = conv.requantize(
        accumulator, conv.multipliers(case["sx"], scales, sy), case["zy"], dtype, bounds
    )
    assert delegated, "XNNPACK did not take the operator: the test compares with another kernel"
    np.testing.assert_array_equal(actual, expected)
    return actual.size


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
@pytest.mark.parametrize("seed", range(30))
def test_conv2d(dtype: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    case = _case(rng, dtype)
    n, h, w, c = int(rng.integers(1, 3)), *rng.integers(5, 20, 2), int(rng.integers(1, 40))
    kernel, stride, dilation = rng.integers(1, 4, 2), rng.integers(1, 3, 2), rng.integers(1, 3, 2)
    if rng.random() < 0.5:
        dilation[:] = 1
    out_channels = int(rng.integers(2, 40))
    same = bool(rng.integers(0, 2))
    x = _draw(rng, dtype, (n, h, w, c))
    weights = _draw(rng, dtype, (out_channels, *kernel, c))
    bias = rng.integers(-3000, 3000, out_channels).astype(np.int32)
    rows, cols = (
        conv.same_padding(s, *p) if same else (0, 0) for s, p in zip((h, w), zip(kernel, stride, dilation))
    )
    accumulator = conv.accumulate(
        x, weights, bias, case["zx"], case["zw"], stride, dilation, (rows[0], cols[0], rows[1], cols[1])
    )
    option = options(
        "Conv2DOptions",
        padding=0 if same else 1,
        strideH=int(stride[0]),
        strideW=int(stride[1]),
        dilationHFactor=int(dilation[0]),
        dilationWFactor=int(dilation[1]),
    )
    _check(
        "CONV_2D",
        x,
        weights,
        bias,
        accumulator,
        case,
        _weight_scales(rng, dtype, out_channels),
        dtype,
        rng,
        option,
    )


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
@pytest.mark.parametrize("seed", range(30))
def test_depthwise_conv2d(dtype: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    case = _case(rng, dtype)
    h, w, c = *rng.integers(6, 20, 2), int(rng.integers(2, 40))
    kernel, multiplier, stride = rng.integers(1, 6, 2), int(rng.choice([1, 1, 2, 3])), int(rng.integers(1, 3))
    dilation = 1 if stride > 1 else int(rng.integers(1, 3))
    same = bool(rng.integers(0, 2)) or bool((np.multiply(kernel - 1, dilation) >= 6).any())
    x = _draw(rng, dtype, (1, h, w, c))
    weights = _draw(rng, dtype, (1, *kernel, c * multiplier))
    bias = rng.integers(-3000, 3000, c * multiplier).astype(np.int32)
    rows, cols = (
        conv.same_padding(s, k, stride, dilation) if same else (0, 0) for s, k in zip((h, w), kernel)
    )
    accumulator = conv.accumulate_depthwise(
        x,
        weights,
        bias,
        case["zx"],
        weight_zero_point=case["zw"],
        stride=(stride, stride),
        dilation=(dilation, dilation),
        padding=(rows[0], cols[0], rows[1], cols[1]),
    )
    option = options(
        "DepthwiseConv2DOptions",
        padding=0 if same else 1,
        strideH=stride,
        strideW=stride,
        depthMultiplier=multiplier,
        dilationHFactor=dilation,
        dilationWFactor=dilation,
    )
    scales = _weight_scales(rng, dtype, c * multiplier)
    _check(
        "DEPTHWISE_CONV_2D",
        x,
        weights,
        bias,
        accumulator,
        case,
        scales,
        dtype,
        rng,
        option,
        axis=3 if dtype == "int8" else 0,
    )


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
@pytest.mark.parametrize("seed", range(20))
def test_fully_connected(dtype: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    case = _case(rng, dtype)
    rows, depth, out_channels = int(rng.integers(1, 9)), int(rng.integers(1, 700)), int(rng.integers(2, 90))
    x, weights = _draw(rng, dtype, (rows, depth)), _draw(rng, dtype, (out_channels, depth))
    bias = rng.integers(-3000, 3000, out_channels).astype(np.int32) if seed % 3 else None
    accumulator = conv.accumulate(x[:, None, None], weights[:, None, None], bias, case["zx"], case["zw"])[
        :, 0, 0
    ]
    scales = _weight_scales(rng, dtype if seed % 2 else "uint8", out_channels)
    _check(
        "FULLY_CONNECTED",
        x,
        weights,
        bias,
        accumulator,
        case,
        scales,
        dtype,
        rng,
        options("FullyConnectedOptions"),
    )
