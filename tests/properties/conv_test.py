"""Conv, CONV_2D and DEPTHWISE_CONV_2D."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.properties.harness import Machine, bounded, check
from tests.properties.strategies import (
    Quantization,
    machines,
    quantizations,
    seeds,
    together,
    values,
    zero_points,
)
from tests.properties.windows import ACTIVATIONS, Windows, windows
from tests.reference import conv, onnx_op, rounding, tflite_op


def _scale(sums: np.ndarray, x_scale: float, scales: np.ndarray) -> float:
    """An output scale by which the results spread over the type."""
    return float(np.float32(np.abs(sums * scales.astype(float)).std() * x_scale / 40 + 1e-3))


@bounded(80)
@given(
    machine=machines(),
    types=st.sampled_from((("int8", "int8"), ("uint8", "int8"), ("uint8", "uint8"))),
    data=st.data(),
    batch=st.integers(1, 2),
    rank=st.sampled_from((1, 2, 2)),
    groups=st.sampled_from((1, 1, 2, 3, 8)),
    depth=st.integers(1, 20),
    per_group=st.integers(1, 20),
    per_channel=st.booleans(),
    bias=st.booleans(),
    activation=st.sampled_from(("", "", "Relu", "Clip")),
    seed=seeds(),
)
def test_onnx(
    machine: Machine,
    types: tuple[str, str],
    data: st.DataObject,
    batch: int,
    rank: int,
    groups: int,
    depth: int,
    per_group: int,
    per_channel: bool,
    bias: bool,
    activation: str,
    seed: int,
) -> None:
    """In one dimension or two, grouped and depthwise, with every kind of padding; a Relu whose range is the output's is exact."""
    if groups == 8:
        depth, per_group = 1, per_group % 3 + 1
    geometry: Windows = data.draw(windows(rank=rank))
    q = data.draw(quantizations((types[0],)))
    info = np.iinfo(types[0])
    zero_point = info.min if activation else data.draw(zero_points(types[0]))
    rng = np.random.default_rng(seed)
    channels = groups * per_group
    w = values(types[1], (channels, depth, *geometry.kernel), seed + 1)
    count = channels if per_channel else 1
    scales = np.exp(rng.uniform(-6, -3, count)).astype(np.float32)
    w_zero = np.full(count, rng.integers(0, 256) if types[1] == "uint8" else 0, types[1])
    b = rng.integers(-3000, 3000, channels).astype(np.int32) if bias else None

    def sums(x: np.ndarray) -> np.ndarray:
        return conv.accumulate(
            x.reshape(len(x), x.shape[1], *geometry.size).transpose(0, 2, 3, 1),
            w.transpose(0, 2, 3, 1),
            b,
            q.zero_point,
            int(w_zero[0]),
            geometry.stride,
            geometry.dilation,
            geometry.pads,
            groups,
        )

    x = values(types[0], (batch, groups * depth, *geometry.size[2 - rank :]), seed)
    sy = _scale(sums(x), q.scale, scales)
    y = Quantization(types[0], sy, zero_point)
    kernel = w.reshape(channels, depth, *geometry.kernel[2 - rank :])
    operands = [
        onnx_op.Operand(x.shape, *q),
        onnx_op.Operand(kernel.shape, types[1], scales, w_zero, kernel, 0)
        if per_channel
        else onnx_op.Operand(kernel.shape, types[1], scales[0], w_zero[0], kernel),
    ]
    if b is not None:
        b_scales = np.float32(q.scale) * (scales if per_channel else np.repeat(scales, channels))
        operands.append(onnx_op.Operand(b.shape, "int32", b_scales, 0, b, 0))
    shape = (batch, channels, *geometry.out[2 - rank :])
    chain = [("Conv", {**geometry.fields(rank), "group": groups})]
    if activation == "Relu":
        chain.append(("Relu", {}))
    elif activation:
        limits = [np.float32(0), np.float32(sy * (info.max - info.min))]
        chain.append(("Clip", {"inputs": limits}))
    model = onnx_op.build_qdq(chain, operands, onnx_op.Operand(shape, *y))
    multiplier = conv.multipliers(q.scale, scales, sy)

    def rule(x: np.ndarray) -> np.ndarray:
        out = conv.requantize(sums(x), multiplier, zero_point, types[0])
        return out.transpose(0, 3, 1, 2).reshape(shape)

    check(model, [x], rule, machine=machine)


@bounded(80)
@given(
    machine=machines(),
    q=quantizations(),
    data=st.data(),
    geometry=windows(paddings=("VALID", "SAME_UPPER"), dilated_same=True),
    batch=st.integers(1, 2),
    depth=st.integers(1, 24),
    channels=st.integers(1, 24),
    depthwise=st.booleans(),
    bias=st.booleans(),
    activation=st.sampled_from(sorted(ACTIVATIONS)),
    seed=seeds(),
)
def test_tflite(
    machine: Machine,
    q: Quantization,
    data: st.DataObject,
    geometry: Windows,
    batch: int,
    depth: int,
    channels: int,
    depthwise: bool,
    bias: bool,
    activation: str,
    seed: int,
) -> None:
    """CONV_2D and, with a multiplier of 1 to 3, DEPTHWISE_CONV_2D; int8 per channel, uint8 with a zero point of the weights.

    LiteRT wants a bias, be it of zeros.
    """
    rng = np.random.default_rng(seed)
    if depthwise:
        channels = depth * (channels % 3 + 1)
    shape = (1, *geometry.kernel, channels) if depthwise else (channels, *geometry.kernel, depth)
    w = values(q.dtype, shape, seed + 1)
    is_int8 = q.dtype == "int8"
    scales = np.exp(rng.uniform(-6, -3, channels if is_int8 else 1)).astype(np.float32)
    w_zero = 0 if is_int8 else int(rng.integers(0, 256))
    b = rng.integers(-3000, 3000, channels).astype(np.int32) * bias
    zero_point = data.draw(zero_points(q.dtype))

    def sums(x: np.ndarray) -> np.ndarray:
        function = conv.accumulate_depthwise if depthwise else conv.accumulate
        return function(
            x,
            w,
            b,
            q.zero_point,
            weight_zero_point=w_zero,
            stride=geometry.stride,
            dilation=geometry.dilation,
            padding=geometry.pads,
        )

    x = values(q.dtype, (batch, *geometry.size, depth), seed)
    sy = _scale(sums(x), q.scale, scales)
    if not is_int8:  # XNNPACK takes multipliers below 256 only
        sy = max(sy, float(np.float32(q.scale * scales[0] / 128)))
    axis = 3 if depthwise and is_int8 else 0
    inputs = [tflite_op.Operand(x.shape, *q), tflite_op.Operand(w.shape, q.dtype, scales, w_zero, w, axis)]
    inputs.append(tflite_op.Operand(b.shape, "int32", np.float32(q.scale) * scales, 0, b))
    option = tflite_op.options(
        "DepthwiseConv2DOptions" if depthwise else "Conv2DOptions",
        padding=0 if geometry.padding == "SAME_UPPER" else 1,
        strideH=geometry.stride[0],
        strideW=geometry.stride[1],
        dilationHFactor=geometry.dilation[0],
        dilationWFactor=geometry.dilation[1],
        fusedActivationFunction=ACTIVATIONS[activation],
    )
    if depthwise:
        option.depthMultiplier = channels // depth
    output = tflite_op.Operand((batch, *geometry.out, channels), q.dtype, sy, zero_point)
    model = tflite_op.build("DEPTHWISE_CONV_2D" if depthwise else "CONV_2D", inputs, output, option)
    bounds = rounding.activation_bounds_xnnpack(activation, sy, zero_point, q.dtype)
    multiplier = conv.multipliers(q.scale, scales, sy)
    check(
        model,
        [x],
        lambda x: conv.requantize(sums(x), multiplier, zero_point, q.dtype, bounds),
        machine=machine,
    )


@bounded(40)
@given(
    machine=machines(),
    q=together(2),
    geometry=windows(paddings=("pads", "VALID")),
    depth=st.integers(1, 16),
    channels=st.integers(1, 16),
    depthwise=st.booleans(),
    bias=st.sampled_from(("", "int32", "float32")),
    relu=st.booleans(),
    seed=seeds(),
)
def test_onnx_batch_normalization(
    machine: Machine,
    q: tuple,
    geometry: Windows,
    depth: int,
    channels: int,
    depthwise: bool,
    bias: str,
    relu: bool,
    seed: int,
) -> None:
    """Conv with BatchNormalization: at most one LSB from onnxruntime's float32, and from real numbers."""
    qx, qy = q
    groups, per_group = (depth, 1) if depthwise else (1, depth)
    channels = depth if depthwise else channels
    rng = np.random.default_rng(seed)
    w = values("int8", (channels, per_group, *geometry.kernel), seed + 1)
    scales = np.exp(rng.uniform(-6, -3, channels)).astype(np.float32)
    x = values(qx.dtype, (1, groups * per_group, *geometry.size), seed)
    sums = conv.accumulate(
        x.transpose(0, 2, 3, 1),
        w.transpose(0, 2, 3, 1),
        None,
        qx.zero_point,
        0,
        geometry.stride,
        geometry.dilation,
        geometry.pads,
        groups,
    )
    real = sums * (np.float32(qx.scale) * scales).astype(float)
    operands = [onnx_op.Operand(x.shape, *qx), onnx_op.Operand(w.shape, "int8", scales, 0, w, 0)]
    if bias == "int32":
        b = rng.integers(-3000, 3000, channels).astype(np.int32)
        operands.append(onnx_op.Operand(b.shape, "int32", np.float32(qx.scale) * scales, 0, b, 0))
        real = real + b * (np.float32(qx.scale) * scales).astype(float)
    elif bias:
        b = rng.normal(0, 1, channels).astype(np.float32)
        operands.append(onnx_op.Operand(b.shape, "float32", data=b))
        real = real + b
    gamma = (rng.choice((-1, 1), channels) * rng.uniform(0.2, 2, channels)).astype(np.float32)
    beta, mean = rng.normal(0, 1, (2, channels)).astype(np.float32)
    spread = np.maximum(real.std(axis=(0, 1, 2)), qx.scale * scales)
    variance = (spread**2).astype(np.float32)
    scale = float(np.float32(max(np.abs(gamma).max(), 0.2) / 20))
    epsilon = 1e-3
    chain = [
        ("Conv", {**geometry.fields(), "group": groups}),
        ("BatchNormalization", {"inputs": [gamma, beta, mean, variance], "epsilon": epsilon}),
        *([("Relu", {})] if relu else []),
    ]
    output = onnx_op.Operand((1, channels, *geometry.out), qy.dtype, scale, qy.zero_point)
    model = onnx_op.build_qdq(chain, operands, output)
    factor = gamma.astype(float) / np.sqrt(variance.astype(float) + epsilon)
    assume((np.abs(factor) * qx.scale * scales <= 0.5 * scale).all())

    def rule(_: np.ndarray) -> np.ndarray:
        y = real * factor + (beta - mean * factor)
        y = np.maximum(y, 0) if relu else y
        return rounding.saturate(np.rint(y / scale) + qy.zero_point, qy.dtype).transpose(0, 3, 1, 2)

    check(model, [x], rule, machine=machine, max_lsb=1)


@bounded(25)
@given(
    machine=machines(),
    q=quantizations(),
    geometry=windows(),
    channels=st.integers(1, 12),
    alpha=st.none() | st.floats(0, 1, width=32),
    seed=seeds(),
)
def test_onnx_slopes(
    machine: Machine, q: Quantization, geometry: Windows, channels: int, alpha: float | None, seed: int
) -> None:
    """Conv with LeakyRelu or, without an alpha, PRelu: at most one LSB from onnxruntime's float32, and from real numbers."""
    rng = np.random.default_rng(seed)
    w = values("int8", (channels, 5, *geometry.kernel), seed + 1)
    x = values(q.dtype, (1, 5, *geometry.size), seed)
    real = conv.accumulate(
        x.transpose(0, 2, 3, 1),
        w.transpose(0, 2, 3, 1),
        None,
        q.zero_point,
        0,
        geometry.stride,
        geometry.dilation,
        geometry.pads,
    ) * float(np.float32(q.scale) * np.float32(0.01))
    scale = float(np.float32(real.std() / 40 + 1e-3))
    slope = np.full(1, alpha) if alpha is not None else rng.uniform(0, 1, channels)
    slope = slope.astype(np.float32)
    activation = ("LeakyRelu", {"alpha": alpha})
    if alpha is None:
        activation = ("PRelu", {"inputs": [slope.reshape(-1, 1, 1)]})
    operands = [onnx_op.Operand(x.shape, *q), onnx_op.Operand(w.shape, "int8", 0.01, 0, w)]
    output = onnx_op.Operand((1, channels, *geometry.out), q.dtype, scale, q.zero_point)
    model = onnx_op.build_qdq([("Conv", geometry.fields()), activation], operands, output)

    def rule(_: np.ndarray) -> np.ndarray:
        y = np.where(real < 0, real * slope, real)
        return rounding.saturate(np.rint(y / scale) + q.zero_point, q.dtype).transpose(0, 3, 1, 2)

    check(model, [x], rule, machine=machine, max_lsb=1)


@bounded(8)
@given(machine=machines((None,)), geometry=windows(paddings=("pads",)), seed=seeds())
def test_a_batch(machine: Machine, geometry: Windows, seed: int) -> None:
    w = values("int8", (6, 4, *geometry.kernel), seed)
    operands = [
        onnx_op.Operand((1, 4, *geometry.size), "int8", 0.1, 3),
        onnx_op.Operand(w.shape, "int8", 0.01, 0, w),
    ]
    output = onnx_op.Operand((1, 6, *geometry.out), "int8", 0.1 * math.sqrt(w[0].size), -2)
    model = onnx_op.build_qdq("Conv", operands, output, **geometry.fields())
    check(model, [values("int8", (3, 4, *geometry.size), seed)], machine=machine, batch_size=3)
