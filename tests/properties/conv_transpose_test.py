"""TRANSPOSE_CONV, bit for bit, and ConvTranspose, which onnxruntime computes in float32."""

from __future__ import annotations

import numpy as np
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.properties.harness import Machine, bounded, check
from tests.properties.strategies import machines, quantizations, seeds, values, zero_points
from tests.reference import conv, onnx_op, rounding, tflite_op

ACTIVATIONS = {"NONE": 0, "RELU": 1, "RELU_N1_TO_1": 2, "RELU6": 3}
MOST = 1 << 21  # multiply-accumulates


class Case:
    """Sizes and parameters that both formats share; weights and bias are drawn from a seed."""

    def __init__(self, data: st.DataObject, most_channels: int):
        def pair(low: int, high: int) -> tuple[int, ...]:
            return tuple(data.draw(st.integers(low, high)) for _ in "hw")

        self.batch, self.size = data.draw(st.integers(1, 2)), pair(1, 12)
        self.kernel, self.stride = pair(1, 5), pair(1, 4)
        self.depth, self.channels = (data.draw(st.integers(1, most_channels)) for _ in "io")
        self.q = data.draw(quantizations())
        self.zero_point = data.draw(zero_points(self.q.dtype))
        self.rng = np.random.default_rng(data.draw(seeds()))
        self.bias = self.rng.integers(-3000, 3000, self.channels).astype(np.int32)
        if data.draw(st.booleans()):
            self.bias = None
        work = self.depth * self.channels * np.prod(self.kernel) * np.prod(self.size) * self.batch
        assume(work <= MOST)

    def full(self, i: int, dilation: int = 1) -> int:
        return (self.size[i] - 1) * self.stride[i] + (self.kernel[i] - 1) * dilation + 1

    def output_scale(self, sums: np.ndarray, scales: np.ndarray) -> float:
        """That spreads the results over the type."""
        real = np.abs(sums * scales.astype(float)).std() * self.q.scale
        return float(np.float32(real / 40 + 1e-3))


@bounded(60)
@given(
    machine=machines(),
    data=st.data(),
    same=st.booleans(),
    activation=st.sampled_from(sorted(ACTIVATIONS)),
)
def test_tflite(machine: Machine, data: st.DataObject, same: bool, activation: str) -> None:
    c = Case(data, 24)
    q, kernel, stride = c.q, c.kernel, c.stride
    if same:
        assume(all(k >= s for k, s in zip(kernel, stride)))  # else LiteRT's builtin kernel runs
        size = [c.size[i] * stride[i] - data.draw(st.integers(0, stride[i] - 1)) for i in (0, 1)]
    else:
        size = [c.full(i) + data.draw(st.integers(0, stride[i] - 1)) for i in (0, 1)]
    pad = [max(c.full(i) - size[i], 0) // 2 if same else 0 for i in (0, 1)]
    w = values(q.dtype, (c.channels, *kernel, c.depth), int(c.rng.integers(2**32)))
    zero_point = int(c.rng.integers(0, 256)) if q.dtype == "uint8" else 0
    scales = np.exp(c.rng.uniform(-6, -3, c.channels if q.dtype == "int8" else 1)).astype(np.float32)

    def sums(x: np.ndarray) -> np.ndarray:
        return conv.accumulate_transposed(x, w, c.bias, q.zero_point, size, zero_point, stride, (1, 1), pad)

    x = values(q.dtype, (c.batch, *c.size, c.depth), int(c.rng.integers(2**32)))
    sy = c.output_scale(sums(x), scales)
    shape = (c.batch, *size, c.channels)
    inputs = [
        tflite_op.Operand((4,), "int32", data=np.array(shape, np.int32)),
        tflite_op.Operand(w.shape, q.dtype, scales, zero_point, w, 0),
        tflite_op.Operand(x.shape, *q),
    ]
    if c.bias is not None:
        inputs.append(tflite_op.Operand(c.bias.shape, "int32", np.float32(q.scale) * scales, 0, c.bias))
    option = tflite_op.options(
        "TransposeConvOptions",
        padding=0 if same else 1,
        strideH=stride[0],
        strideW=stride[1],
        fusedActivationFunction=ACTIVATIONS[activation],
    )
    output = tflite_op.Operand(shape, q.dtype, sy, c.zero_point)
    model = tflite_op.build("TRANSPOSE_CONV", inputs, output, option)
    bounds = rounding.activation_bounds_xnnpack(activation, sy, c.zero_point, q.dtype)
    multiplier = conv.multipliers(q.scale, scales, sy)
    check(
        model,
        [x],
        lambda x: conv.requantize(sums(x), multiplier, c.zero_point, q.dtype, bounds),
        machine=machine,
    )


@bounded(60)
@given(
    machine=machines(),
    data=st.data(),
    groups=st.sampled_from((1, 1, 2, 3)),
    depthwise=st.booleans(),
    weight_dtype=st.sampled_from(("int8", "uint8")),
    padding=st.sampled_from(("pads", "output_shape", "SAME_UPPER", "SAME_LOWER", "VALID")),
)
def test_onnx(
    machine: Machine, data: st.DataObject, groups: int, depthwise: bool, weight_dtype: str, padding: str
) -> None:
    """At most one LSB from onnxruntime, whose float32 sums are rounded on the way; exactly the rule."""
    c = Case(data, 12)
    q, stride, kernel = c.q, c.stride, c.kernel
    depth, per_group = (1, c.channels) if depthwise else (c.depth, c.channels)
    channels, bias = per_group * groups, None if c.bias is None else np.tile(c.bias, groups)
    dilation = tuple(data.draw(st.sampled_from((1, 1, 2, 3))) for _ in "hw")
    extra = [data.draw(st.integers(0, s - 1)) for s in stride]
    full = [c.full(i, dilation[i]) for i in (0, 1)]
    fields: dict[str, object] = {"strides": stride, "dilations": dilation, "group": groups}
    if padding == "pads":
        pads = [data.draw(st.integers(0, 3)) for _ in range(4)]
        size, pad = [full[i] + extra[i] - pads[i] - pads[i + 2] for i in (0, 1)], pads[:2]
        fields |= {"pads": pads, "output_padding": extra}
    elif padding == "output_shape":
        size = [full[i] - data.draw(st.integers(0, 3)) for i in (0, 1)]
        pad = [(f - s + 1) // 2 for f, s in zip(full, size)]
        fields |= {"output_shape": size}
    elif padding == "VALID":
        size, pad = [f + e for f, e in zip(full, extra)], [0, 0]
        fields |= {"auto_pad": "VALID", "output_padding": extra}
    else:
        size = [min(c.size[i] * stride[i], full[i] + extra[i]) for i in (0, 1)]
        total = [f + e - s for f, e, s in zip(full, extra, size)]
        pad = [(t + (padding == "SAME_LOWER")) // 2 for t in total]
        fields |= {"auto_pad": padding, "output_padding": extra}
    assume(min(size) > 0)
    w = values(weight_dtype, (groups * depth, per_group, *kernel), int(c.rng.integers(2**32)))
    zero_point = int(c.rng.integers(0, 256)) if weight_dtype == "uint8" else 0
    per_channel = weight_dtype == "int8" and bool(c.rng.integers(2))
    scales = np.exp(c.rng.uniform(-6, -3, per_group if per_channel else 1)).astype(np.float32)
    each = np.tile(scales, groups) if per_channel else np.full(channels, scales[0], np.float32)
    ordered = (
        w.reshape(groups, depth, per_group, *kernel)
        .transpose(0, 2, 3, 4, 1)
        .reshape(channels, *kernel, depth)
    )

    def sums(x: np.ndarray) -> np.ndarray:
        x = x.transpose(0, 2, 3, 1)
        return conv.accumulate_transposed(
            x, ordered, bias, q.zero_point, size, zero_point, stride, dilation, pad, groups
        )

    x = values(q.dtype, (c.batch, groups * depth, *c.size), int(c.rng.integers(2**32)))
    sy = c.output_scale(sums(x), each)
    operands = [
        onnx_op.Operand(x.shape, *q),
        onnx_op.Operand(
            w.shape,
            weight_dtype,
            scales if per_channel else scales[0],
            zero_point,
            w,
            1 if per_channel else None,
        ),
    ]
    if bias is not None:
        step = np.float32(q.scale) * each
        if data.draw(st.booleans()):
            operands.append(onnx_op.Operand(bias.shape, "int32", step, 0, bias, 0))
        else:  # left in real numbers
            operands.append(onnx_op.Operand(bias.shape, "float32", data=(bias * step).astype(np.float32)))
    output = onnx_op.Operand((c.batch, channels, *size), q.dtype, sy, c.zero_point)
    model = onnx_op.build_qdq("ConvTranspose", operands, output, **fields)
    multiplier = conv.multipliers(q.scale, each, sy)

    def rule(x: np.ndarray) -> np.ndarray:
        return conv.requantize(sums(x), multiplier, c.zero_point, q.dtype).transpose(0, 3, 1, 2)

    result = check(model, [x], machine=machine, max_lsb=1)
    np.testing.assert_array_equal(result.outputs[0], rule(x))


def test_a_batch() -> None:
    w = values("int8", (3, 4, 4, 4), 2)
    operands = [
        onnx_op.Operand((1, 3, 6, 5), "int8", 0.1, 3),
        onnx_op.Operand(w.shape, "int8", 0.01, 0, w),
    ]
    output = onnx_op.Operand((1, 4, 12, 10), "int8", 0.3, -2)
    model = onnx_op.build_qdq("ConvTranspose", operands, output, strides=[2, 2], pads=[1, 1, 1, 1])
    check(model, [values("int8", (3, 3, 6, 5), 5)], batch_size=3, max_lsb=1)


def test_a_batch_of_tflite() -> None:
    """The shape that the operator states has the batch in it."""
    w = values("int8", (4, 3, 3, 5), 2)
    inputs = [
        tflite_op.Operand((4,), "int32", data=np.array([1, 12, 10, 4], np.int32)),
        tflite_op.Operand(w.shape, "int8", np.full(4, 0.01), 0, w),
        tflite_op.Operand((1, 6, 5, 5), "int8", 0.1, 3),
    ]
    option = tflite_op.options("TransposeConvOptions", padding=0, strideH=2, strideW=2)
    output = tflite_op.Operand((1, 12, 10, 4), "int8", 0.3, -2)
    model = tflite_op.build("TRANSPOSE_CONV", inputs, output, option)
    check(model, [values("int8", (3, 6, 5, 5), 5)], batch_size=3)
