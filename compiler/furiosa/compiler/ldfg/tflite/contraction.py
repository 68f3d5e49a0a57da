"""CONV_2D, DEPTHWISE_CONV_2D, TRANSPOSE_CONV, FULLY_CONNECTED and BATCH_MATMUL."""

from __future__ import annotations

import numpy as np

from furiosa.compiler.dfg.graph import Operator, Tensor
from furiosa.compiler.ldfg import arithmetic, rules, transposed
from furiosa.compiler.ldfg.lowering import Facts, Lowering
from furiosa.compiler.ldfg.matmul import batched, batches, matmul
from furiosa.compiler.ldfg.tflite import fixed_point
from furiosa.compiler.ldfg.tflite.common import (
    activation,
    bounds,
    unsupported_activation,
    window,
)
from furiosa.enf.isa import Rounding


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
    return _facts(op, op.inputs[0], op.inputs[1], op.inputs[2] if len(op.inputs) > 2 else None, **more)


def _facts(op: Operator, x: Tensor, w: Tensor, b: Tensor | None, **more: object) -> Facts:
    reference = ""
    if w.quantization is not None and w.quantization.scale.size > 1 and np.any(w.quantization.zero_point):
        reference = "weights per channel with zero points that are not 0"
    return Facts(
        op.op_type,
        [x, op.outputs[0]],
        [w, b],
        w,
        b,
        reference=reference,
        attribute=unsupported_activation(op),
        **more,
    )


@rules.requires(rules.CONV)
def conv_2d(low: Lowering, op: Operator) -> None:
    x, w, y = op.inputs[0], op.inputs[1], op.outputs[0]
    b = op.inputs[2] if len(op.inputs) > 2 else None
    groups = x.shape[3] // w.shape[3]
    dilations = (op.attributes["dilation_h_factor"], op.attributes["dilation_w_factor"])
    low.check(rules.CONV, _conv_facts(op, groups=groups, dilations=dilations))
    inputs, attributes = _weights(low, w, b, x, y, w.shape[0])
    lo, hi = bounds(low, y, activation(op), arithmetic.xnnpack_bounds)
    attributes |= window(op, x, y, w.shape[1:3])
    low.emit_to(
        "npu.conv2d",
        [low.plain(x), *inputs],
        low.result(y),
        **attributes,
        groups=groups,
        clamp_min=lo,
        clamp_max=hi,
    )


@rules.requires(rules.CONV)
def depthwise_conv_2d(low: Lowering, op: Operator) -> None:
    x, w, y = op.inputs[0], op.inputs[1], op.outputs[0]
    b = op.inputs[2] if len(op.inputs) > 2 else None
    dilations = (op.attributes["dilation_h_factor"], op.attributes["dilation_w_factor"])
    low.check(rules.CONV, _conv_facts(op, dilations=dilations, channel_axis=3))
    (weight, bias, scale), attributes = _weights(low, w, b, x, y, w.shape[3])
    weight = low.constant(w.name, weight.data.reshape(w.shape[1:]), w.quantization)
    lo, hi = bounds(low, y, activation(op), arithmetic.xnnpack_bounds)
    attributes |= window(op, x, y, w.shape[1:3])
    inputs = [low.plain(x), weight, bias, scale]
    low.emit_to("npu.depthwise_conv2d", inputs, low.result(y), **attributes, clamp_min=lo, clamp_max=hi)


@rules.requires(rules.CONV_TRANSPOSE)
def transpose_conv(low: Lowering, op: Operator) -> None:
    """By XNNPACK's rule, which is that of CONV_2D."""
    shape, w, x = op.inputs[:3]
    b, y = op.inputs[3] if len(op.inputs) > 3 else None, op.outputs[0]
    a = op.attributes
    strides = (a["stride_h"], a["stride_w"])
    kernel, same = w.shape[1:3], a["padding"] == "SAME"
    facts = _facts(op, x, w, b)
    facts.constants.append(shape)
    facts.attribute = facts.attribute or transposed.count(strides)
    sizes = [(x.shape[i], y.shape[i], kernel[i - 1], strides[i - 1]) for i in (1, 2)]
    for size, out, k, stride in sizes:
        if same and k < stride:
            facts.reference = facts.reference or "SAME padding with a stride above the kernel's size"
        elif -(-(out if same else out - k + 1) // stride) != size:
            facts.attribute = facts.attribute or f"the output size {out} for the input size {size}"
    low.check(rules.CONV_TRANSPOSE, facts)
    (weight, bias, scale), attributes = _weights(low, w, b, x, y, w.shape[0])
    lo, hi = bounds(low, y, activation(op), arithmetic.xnnpack_bounds)
    geometry = [
        transposed.phases(size, out, k, stride, 1, max((size - 1) * stride + k - out, 0) // 2 if same else 0)
        for size, out, k, stride in sizes
    ]
    transposed.emit(
        low,
        low.plain(x),
        weight,
        bias,
        scale,
        low.result(y),
        tuple(geometry),
        strides,
        **attributes,
        groups=1,
        clamp_min=lo,
        clamp_max=hi,
    )


@rules.requires(rules.MATMUL)
def fully_connected(low: Lowering, op: Operator) -> None:
    """As a 1x1 convolution over [1, 1, rows, features]; by an activation as a MATMUL, in LiteRT's builtin arithmetic."""
    x, w, y = op.inputs[0], op.inputs[1], op.outputs[0]
    b = op.inputs[2] if len(op.inputs) > 2 else None
    if not w.is_constant:
        _product(low, op, (x, w, y), (False, True), b, delegated=False)
        return
    low.check(rules.MATMUL, _conv_facts(op))
    channels, depth = w.shape
    rows = x.size // depth
    (weight, bias, scale), attributes = _weights(low, w, b, x, y, channels)
    weight = low.constant(w.name, weight.data.reshape(channels, 1, 1, depth), w.quantization)
    lo, hi = bounds(low, y, activation(op), arithmetic.xnnpack_bounds)
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


@rules.requires(rules.MATMUL)
def batch_matmul(low: Lowering, op: Operator) -> None:
    """By XNNPACK's kernel where the second factor's zero point is 0, by the builtin one elsewhere."""
    a, b, y = op.inputs[0], op.inputs[1], op.outputs[0]
    transposed = bool(op.attributes.get("adj_x")), bool(op.attributes.get("adj_y"))
    delegated = b.quantization is not None and not np.any(b.quantization.zero_point)
    _product(low, op, (a, b, y), transposed, None, delegated=delegated)


def _product(
    low: Lowering,
    op: Operator,
    tensors: tuple[Tensor, Tensor, Tensor],
    transposed: tuple[bool, bool],
    bias: Tensor | None,
    *,
    delegated: bool,
) -> None:
    """A product of int8 activations, ``tensors`` being its factors and itself; ``delegated``: by XNNPACK."""
    a, b, y = tensors
    dense = op.op_type == "FULLY_CONNECTED"
    reference = ""
    if any(t.dtype == "uint8" for t in tensors):
        reference = "factors and product that are not all int8"
    elif dense and b.quantization is not None and np.any(b.quantization.zero_point):
        reference = "weights that are no constants, with a zero point that is not 0"
    elif all(t.quantization is not None for t in tensors):
        (s_a, _), (s_b, _), (s_y, _) = (low.quantization(t) for t in tensors)
        if not delegated and fixed_point.multiplier(float(s_a * s_b) / float(s_y))[1] > 0:
            reference = "an output scale that is not larger than the product of the factors' scales"
    groups = 2 + len(batches(a.shape, b.shape)[0]) if not dense else 3
    facts = Facts(
        op.op_type,
        list(tensors),
        [bias],
        bias=bias,
        dimension_groups=groups,
        reference=reference,
        attribute=unsupported_activation(op),
    )
    low.check(rules.MATMUL, facts)
    (s_a, z_a), (s_b, z_b), (s_y, z_y) = (low.quantization(t) for t in tensors)
    more: dict[str, int] = {}
    if not delegated:
        multiplier, shift = fixed_point.multiplier(float(s_a * s_b) / float(s_y))
        more = {"rounding": Rounding.TFLITE, "multiplier": multiplier, "shift": shift, "half_up": int(dense)}
    lo, hi = bounds(low, y, activation(op), arithmetic.tflite_bounds)
    form = low.plain(a)
    if dense:
        form = low.emit("npu.reshape", [form], a.name, (a.size // b.shape[-1], b.shape[-1]), a.quantization)
    batched(
        low,
        (form, low.plain(b)),
        transposed,
        None if bias is None else bias.data,
        arithmetic.conv_scale(s_a, s_b[None], s_y, 1),
        low.result(y),
        a_zero_point=z_a,
        b_zero_point=z_b,
        output_zero_point=z_y,
        clamp_min=lo,
        clamp_max=hi,
        **more,
    )
