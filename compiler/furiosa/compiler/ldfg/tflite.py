"""Lowering of TFLite operators: one function an operator, after the arithmetic of LiteRT's default kernels.

Each rule of arithmetic is stated, and tested against LiteRT, in tests/reference.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from furiosa.compiler.dfg.graph import Operator, Tensor
from furiosa.compiler.ldfg import arithmetic, rules
from furiosa.compiler.ldfg.arithmetic import clamp, f32
from furiosa.compiler.ldfg.lowering import Facts, Lowering
from furiosa.enf.isa import Rounding

INT8 = (-128, 127)
FUSED = ("NONE", "RELU", "RELU6", "RELU_N1_TO_1")


def _bounds(
    low: Lowering, t: Tensor, activation: str, rule: Callable[..., tuple[int, int]]
) -> tuple[int, int]:
    """The clamp of a fused activation in the int8 form; the rule is applied to the tensor's own zero point."""
    scale = float(t.quantization.scale.reshape(-1)[0])
    zero_point = int(t.quantization.zero_point.reshape(-1)[0])
    offset = 128 if t.dtype == "uint8" else 0
    lo, hi = rule(activation, scale, zero_point, -128 + offset, 127 + offset)
    return lo - offset, hi - offset


def _activation(op: Operator) -> str:
    return op.attributes.get("fused_activation_function", "NONE")


def _unsupported_activation(op: Operator) -> str:
    return "" if _activation(op) in FUSED else f"fused activation {_activation(op)}"


def _padding(op: Operator, size: int, out: int, kernel: int, stride: int, dilation: int) -> int:
    """Rows (or columns) of padding before the input."""
    if op.attributes.get("padding", "VALID") == "VALID":
        return 0
    return max((out - 1) * stride + (kernel - 1) * dilation + 1 - size, 0) // 2


def _window(op: Operator, x: Tensor, y: Tensor, kernel: tuple[int, int]) -> dict[str, int]:
    a = op.attributes
    stride = (a["stride_h"], a["stride_w"])
    dilation = (a.get("dilation_h_factor", 1), a.get("dilation_w_factor", 1))
    pads = [_padding(op, x.shape[1 + i], y.shape[1 + i], kernel[i], stride[i], dilation[i]) for i in (0, 1)]
    out = {"stride_h": stride[0], "stride_w": stride[1], "pad_top": pads[0], "pad_left": pads[1]}
    if "dilation_h_factor" in a:
        out.update(dilation_h=dilation[0], dilation_w=dilation[1])
    return out


def _weights(
    low: Lowering, w: Tensor, b: Tensor | None, x: Tensor, y: Tensor, channels: int
) -> tuple[list, dict]:
    """Weight, bias and scale as constants, and the zero points and clamp that go with them."""
    s_in, z_in = low.quantization(x)
    s_out, z_out = low.quantization(y)
    bias = b.data.astype(np.int32) if b is not None else np.zeros(channels, np.int32)
    scale = arithmetic.conv_scale(s_in, w.quantization.scale, s_out, channels)
    z_w = int(w.quantization.zero_point.reshape(-1)[0]) - 128 * (w.dtype == "uint8")
    inputs = [low.plain(w), low.constant(f"{w.name}/bias", bias), low.constant(f"{w.name}/scale", scale)]
    return inputs, {"input_zero_point": z_in, "output_zero_point": z_out, "weight_zero_point": z_w}


def _conv_facts(op: Operator, **more: object) -> Facts:
    w, b = op.inputs[1], op.inputs[2] if len(op.inputs) > 2 else None
    reference = ""
    if w.quantization is None or w.dtype not in ("int8", "uint8"):
        reference = f"weights of type {w.dtype}"
    elif w.quantization.scale.size > 1 and np.any(w.quantization.zero_point):
        reference = "weights per channel with zero points that are not 0"
    elif b is not None and b.dtype != "int32":
        reference = f"a bias of type {b.dtype}"
    return Facts(
        op.op_type,
        [op.inputs[0], op.outputs[0]],
        [w, b],
        reference=reference,
        attribute=_unsupported_activation(op),
        **more,
    )


def conv_2d(low: Lowering, op: Operator) -> None:
    x, w, y = op.inputs[0], op.inputs[1], op.outputs[0]
    b = op.inputs[2] if len(op.inputs) > 2 else None
    groups = x.shape[3] // w.shape[3]
    dilations = (op.attributes["dilation_h_factor"], op.attributes["dilation_w_factor"])
    low.check(rules.CONV, _conv_facts(op, groups=groups, dilations=dilations))
    inputs, attributes = _weights(low, w, b, x, y, w.shape[0])
    lo, hi = _bounds(low, y, _activation(op), arithmetic.xnnpack_bounds)
    attributes |= _window(op, x, y, w.shape[1:3])
    low.emit_to(
        "npu.conv2d",
        [low.plain(x), *inputs],
        low.result(y),
        **attributes,
        groups=groups,
        clamp_min=lo,
        clamp_max=hi,
    )


def depthwise_conv_2d(low: Lowering, op: Operator) -> None:
    x, w, y = op.inputs[0], op.inputs[1], op.outputs[0]
    b = op.inputs[2] if len(op.inputs) > 2 else None
    dilations = (op.attributes["dilation_h_factor"], op.attributes["dilation_w_factor"])
    low.check(rules.CONV, _conv_facts(op, dilations=dilations))
    (weight, bias, scale), attributes = _weights(low, w, b, x, y, w.shape[3])
    weight = low.constant(w.name, weight.data.reshape(w.shape[1:]), w.quantization)
    lo, hi = _bounds(low, y, _activation(op), arithmetic.xnnpack_bounds)
    attributes |= _window(op, x, y, w.shape[1:3])
    inputs = [low.plain(x), weight, bias, scale]
    low.emit_to("npu.depthwise_conv2d", inputs, low.result(y), **attributes, clamp_min=lo, clamp_max=hi)


def fully_connected(low: Lowering, op: Operator) -> None:
    """As a 1x1 convolution over [1, 1, rows, features]."""
    x, w, y = op.inputs[0], op.inputs[1], op.outputs[0]
    b = op.inputs[2] if len(op.inputs) > 2 else None
    low.check(rules.CONV, _conv_facts(op))
    channels, depth = w.shape
    rows = x.size // depth
    (weight, bias, scale), attributes = _weights(low, w, b, x, y, channels)
    weight = low.constant(w.name, weight.data.reshape(channels, 1, 1, depth), w.quantization)
    lo, hi = _bounds(low, y, _activation(op), arithmetic.xnnpack_bounds)
    matmul(
        low,
        low.plain(x),
        rows,
        [weight, bias, scale],
        low.result(y),
        **attributes,
        clamp_min=lo,
        clamp_max=hi,
    )


def matmul(
    low: Lowering, x: Tensor, rows: int, parameters: list[Tensor], y: Tensor, **attributes: int
) -> None:
    """Emits y[rows, channels] = x[rows, depth] * weight as a 1x1 convolution, with the reshapes around it."""
    channels, _, _, depth = parameters[0].shape
    shaped = low.emit("npu.reshape", [x], x.name, (1, 1, rows, depth), x.quantization)
    out = low.emit(
        "npu.conv2d",
        [shaped, *parameters],
        y.name,
        (1, 1, rows, channels),
        y.quantization,
        **attributes,
        stride_h=1,
        stride_w=1,
        pad_top=0,
        pad_left=0,
        dilation_h=1,
        dilation_w=1,
        groups=1,
    )
    low.emit_to("npu.reshape", [out], y)


def add(low: Lowering, op: Operator) -> None:
    """ADD and SUB in XNNPACK's fixed point."""
    a, b, y = op.inputs[0], op.inputs[1], op.outputs[0]
    fixed = None
    if all(t.quantization is not None for t in (a, b, y)):
        (s_a, z_a), (s_b, z_b), (s_y, z_y) = (low.quantization(t) for t in (a, b, y))
        fixed = arithmetic.xnnpack_add(s_a, s_b, s_y)
    reference = "" if fixed else "scales so far apart that LiteRT uses another kernel"
    low.check(
        rules.ELEMENTWISE,
        Facts(op.op_type, [a, b, y], [], reference=reference, attribute=_unsupported_activation(op)),
    )
    m_a, m_b, shift = fixed
    lo, hi = _bounds(low, y, _activation(op), arithmetic.xnnpack_bounds)
    low.emit_to(
        "npu.add",
        [low.plain(a), low.plain(b)],
        low.result(y),
        a_zero_point=z_a,
        b_zero_point=z_b,
        output_zero_point=z_y,
        clamp_min=lo,
        clamp_max=hi,
        rounding=Rounding.XNNPACK,
        a_multiplier=m_a,
        b_multiplier=-m_b if op.op_type == "SUB" else m_b,
        shift=shift,
    )


def mul(low: Lowering, op: Operator) -> None:
    a, b, y = op.inputs[0], op.inputs[1], op.outputs[0]
    reference = "no quantisation"
    if all(t.quantization is not None for t in (a, b, y)):
        (s_a, z_a), (s_b, z_b), (s_y, z_y) = (low.quantization(t) for t in (a, b, y))
        m = f32(f32(s_a * s_b) / s_y)
        reference = "" if 2**-16 <= m < 2**8 else "scales so far apart that LiteRT uses another kernel"
    low.check(
        rules.ELEMENTWISE,
        Facts(op.op_type, [a, b, y], [], reference=reference, attribute=_unsupported_activation(op)),
    )
    lo, hi = _bounds(low, y, _activation(op), arithmetic.xnnpack_bounds)
    low.emit_to(
        "npu.mul",
        [low.plain(a), low.plain(b)],
        low.result(y),
        a_zero_point=z_a,
        b_zero_point=z_b,
        clamp_min=lo,
        clamp_max=hi,
        scale=float(m),
        output_offset=z_y,
    )


def _same_quantization(low: Lowering, *tensors: Tensor) -> bool:
    first, *rest = tensors
    if any(t.quantization is None for t in tensors):
        return all(t.quantization is None for t in tensors)
    return all(low.quantization(t) == low.quantization(first) and t.dtype == first.dtype for t in rest)


def _pool(low: Lowering, op: Operator, rule: Callable[..., tuple[int, int]]) -> dict[str, int]:
    x, y = op.inputs[0], op.outputs[0]
    same = x.quantization is not None and _same_quantization(low, x, y)
    reference = "" if same else "input and output of a pooling with different scales"
    low.check(
        rules.POOL, Facts(op.op_type, [x, y], [], reference=reference, attribute=_unsupported_activation(op))
    )
    kernel = (op.attributes["filter_height"], op.attributes["filter_width"])
    lo, hi = _bounds(low, y, _activation(op), rule)
    return {
        **_window(op, x, y, kernel),
        "kernel_h": kernel[0],
        "kernel_w": kernel[1],
        "clamp_min": lo,
        "clamp_max": hi,
    }


def max_pool_2d(low: Lowering, op: Operator) -> None:
    attributes = _pool(low, op, arithmetic.xnnpack_bounds)
    low.emit_to("npu.max_pool2d", [low.plain(op.inputs[0])], low.result(op.outputs[0]), **attributes)


def average_pool_2d(low: Lowering, op: Operator) -> None:
    attributes = _pool(low, op, arithmetic.tflite_bounds)
    x, y = op.inputs[0], op.outputs[0]
    low.emit_to(
        "npu.average_pool2d",
        [low.plain(x)],
        low.result(y),
        **attributes,
        rounding=Rounding.TFLITE_UINT8 if x.dtype == "uint8" else Rounding.TFLITE,
    )


def mean(low: Lowering, op: Operator) -> None:
    x, y = op.inputs[0], op.outputs[0]
    axes: tuple[int, ...] = ()
    if op.inputs[1].is_constant:
        axes = tuple(sorted(int(a) % len(x.shape) for a in op.inputs[1].data.reshape(-1)))
    if len(x.shape) != 4:
        axes = (*axes, -1)
    low.check(rules.MEAN, Facts(op.op_type, [x, y], [op.inputs[1]], axes=axes))
    (s_x, z_x), (s_y, z_y) = low.quantization(x), low.quantization(y)
    n, h, w, c = x.shape
    # XNNPACK sums the raw values of the tensor's own type, and adds its own zero point before it rounds
    offset_x, offset_y = 128 * (x.dtype == "uint8"), 128 * (y.dtype == "uint8")
    scale = f32(f32(f32(1) / f32(h * w)) * f32(s_x / s_y))
    bias = f32(f32(z_y + offset_y) - f32(f32(h * w * (z_x + offset_x)) * scale))
    pooled = low.emit(
        "npu.reduce_mean",
        [low.plain(x)],
        y.name,
        (n, 1, 1, c),
        y.quantization,
        sum_offset=h * w * offset_x,
        scale=float(scale),
        bias=float(bias),
        output_offset=-offset_y,
        clamp_min=-128,
        clamp_max=127,
    )
    low.emit_to("npu.reshape", [pooled], low.result(y))


def relu(low: Lowering, op: Operator) -> None:
    x, y = op.inputs[0], op.outputs[0]
    same = x.quantization is not None and _same_quantization(low, x, y)
    reference = "" if same else "input and output with different scales"
    low.check(rules.ELEMENTWISE, Facts(op.op_type, [x, y], [], reference=reference))
    lo, hi = _bounds(low, y, op.op_type, arithmetic.tflite_bounds)
    low.requantize(x, y, lambda q: clamp(q, lo, hi), image=False)


def pad(low: Lowering, op: Operator) -> None:
    x, pads, y = op.inputs[0], op.inputs[1], op.outputs[0]
    value = op.inputs[2] if len(op.inputs) > 2 else None
    reference = ""
    if not _same_quantization(low, x, y) or x.quantization is None:
        reference = "input and output with different scales"
    low.check(rules.ELEMENTWISE, Facts(op.op_type, [x, y], [pads, value], reference=reference))
    fill = low.quantization(x)[1]
    if value is not None:
        fill = int(low.plain(value).data.reshape(-1)[0])
    before = [int(p) for p in pads.data.reshape(-1, 2)[:, 0]]
    low.emit_to("npu.pad", [low.plain(x)], low.result(y), before=tuple(before), value=fill)


def concatenation(low: Lowering, op: Operator) -> None:
    y = op.outputs[0]
    inputs = [t for t in op.inputs if t is not None]
    low.check(rules.ELEMENTWISE, Facts(op.op_type, [*inputs, y], [], attribute=_unsupported_activation(op)))
    parts = []
    for t in inputs:
        form = low.plain(t)
        if not _same_quantization(low, t, y):
            lookup = low.table(f"{t.name}/requantize", _concat_requantize(low, t, y))
            form = low.emit("npu.table_lookup", [form, lookup], t.name, t.shape, y.quantization)
        parts.append(form)
    axis = op.attributes["axis"] % len(y.shape)
    low.emit_to("npu.concat", parts, low.result(y), axis=axis)


def _concat_requantize(low: Lowering, t: Tensor, y: Tensor) -> Callable[[int], int]:
    """LiteRT's uint8 concatenation of inputs with other scales, on the uint8 values."""
    s_x, s_y = low.quantization(t)[0], low.quantization(y)[0]
    z_x, z_y = (int(v.quantization.zero_point.reshape(-1)[0]) for v in (t, y))
    scale = f32(s_x * f32(f32(1) / s_y))
    bias = f32(f32(-z_x) * scale)

    def function(q: int) -> int:
        v = arithmetic.round_half_away(float(f32(f32(f32(q + 128) * scale) + bias))) + z_y
        return clamp(v, 0, 255) - 128

    return function


def reshape(low: Lowering, op: Operator) -> None:
    """RESHAPE, SQUEEZE and EXPAND_DIMS keep the bytes as they are."""
    x, y = op.inputs[0], op.outputs[0]
    low.check((rules.eight_bit_activations,), Facts(op.op_type, [x, y], []))
    low.emit_to("npu.reshape", [low.plain(x)], low.result(y))


def transpose(low: Lowering, op: Operator) -> None:
    x, perm, y = op.inputs[0], op.inputs[1], op.outputs[0]
    low.check(
        (rules.eight_bit_activations, rules.constant_parameters, rules.rank_limit),
        Facts(op.op_type, [x, y], [perm]),
    )
    order = tuple(int(p) for p in perm.data.reshape(-1))
    low.emit_to("npu.transpose", [low.plain(x)], low.result(y), perm=order)


def quantize(low: Lowering, op: Operator) -> None:
    """From float32 by the reciprocal of the scale; between 8-bit types by XNNPACK's fixed point."""
    x, y = op.inputs[0], op.outputs[0]
    if x.dtype == "float32":
        low.check(rules.ELEMENTWISE, Facts(op.op_type, [y], []))
        scale, zero_point = low.quantization(y)
        low.emit_to(
            "npu.quantize",
            [low.plain(x)],
            low.result(y),
            scale=float(scale),
            zero_point=zero_point,
            rounding=Rounding.XNNPACK,
        )
        return
    reference = "no quantisation"
    if x.quantization is not None and y.quantization is not None:
        (s_x, z_x), (s_y, z_y) = low.quantization(x), low.quantization(y)
        r = f32(s_x / s_y)
        reference = ""
        if x.dtype != y.dtype and s_x != s_y:
            reference = f"{x.dtype} to {y.dtype} with another scale"
        elif not 2**-8 <= r <= 2**7:
            reference = "scales so far apart that LiteRT uses another kernel"
    low.check(rules.ELEMENTWISE, Facts(op.op_type, [x, y], [], reference=reference))
    if s_x == s_y:
        low.requantize(x, y, lambda q: clamp(q - z_x + z_y), image=False)
    else:
        multiplier = int(np.rint(f32(256) * r))
        low.requantize(x, y, lambda q: clamp((((q - z_x) * multiplier + 128) >> 8) + z_y), image=False)


def dequantize(low: Lowering, op: Operator) -> None:
    x, y = op.inputs[0], op.outputs[0]
    low.check(rules.INTEGER, Facts(op.op_type, [x], []))
    scale, zero_point = low.quantization(x)
    low.emit_to("npu.dequantize", [low.plain(x)], low.result(y), scale=float(scale), zero_point=zero_point)


def logistic(low: Lowering, op: Operator) -> None:
    """LOGISTIC and TANH by table: the function in double, rounded to float32, times the reciprocal of the scale."""
    x, y = op.inputs[0], op.outputs[0]
    low.check(rules.ELEMENTWISE, Facts(op.op_type, [x, y], []))
    (s_x, z_x), (s_y, z_y) = low.quantization(x), low.quantization(y)
    inverse = f32(f32(1) / s_y)

    def function(q: int) -> int:
        v = float(f32(f32(q - z_x) * s_x))
        if op.op_type == "TANH":
            real = math.tanh(v)
        else:
            real = 1.0 / (1.0 + math.exp(-v)) if v > -700 else 0.0
        return clamp(np.rint(f32(f32(real) * inverse)) + z_y)

    low.requantize(x, y, function, image=False)


def softmax(low: Lowering, op: Operator) -> None:
    """By LiteRT's builtin kernel: a float32 table of exponentials by distance from the row's maximum."""
    x, y = op.inputs[0], op.outputs[0]
    reference = ""
    if y.quantization is not None and (low.quantization(y) != (f32(1 / 256), -128) or y.dtype != x.dtype):
        reference = "an output scale that is not 1/256"
    rows = x.size // x.shape[-1] if x.shape else 1
    facts = Facts(op.op_type, [x, y], [], batch=x.shape[0] if len(x.shape) > 1 else 1, reference=reference)
    low.check(rules.SOFTMAX, facts)
    factor = -f32(low.quantization(x)[0] * f32(op.attributes["beta"]))
    exponentials = np.array([math.exp(float(f32(factor * f32(d)))) for d in range(256)], np.float32)
    shaped = low.emit("npu.reshape", [low.plain(x)], x.name, (rows, x.shape[-1]), x.quantization)
    out = low.emit(
        "npu.softmax",
        [shaped, low.constant(f"{y.name}/table", exponentials)],
        y.name,
        shaped.shape,
        y.quantization,
        output_offset=-128,
        factor=1 / 256,
        rounding=Rounding.TFLITE,
    )
    low.emit_to("npu.reshape", [out], low.result(y))


LOWERINGS: dict[str, Callable[[Lowering, Operator], None]] = {
    "ADD": add,
    "AVERAGE_POOL_2D": average_pool_2d,
    "CONCATENATION": concatenation,
    "CONV_2D": conv_2d,
    "DEPTHWISE_CONV_2D": depthwise_conv_2d,
    "DEQUANTIZE": dequantize,
    "EXPAND_DIMS": reshape,
    "FULLY_CONNECTED": fully_connected,
    "LOGISTIC": logistic,
    "MAX_POOL_2D": max_pool_2d,
    "MEAN": mean,
    "MUL": mul,
    "PAD": pad,
    "PADV2": pad,
    "QUANTIZE": quantize,
    "RELU": relu,
    "RELU6": relu,
    "RESHAPE": reshape,
    "SOFTMAX": softmax,
    "SQUEEZE": reshape,
    "SUB": add,
    "TANH": logistic,
    "TRANSPOSE": transpose,
}
