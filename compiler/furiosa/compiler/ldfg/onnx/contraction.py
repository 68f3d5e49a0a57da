"""Conv, Gemm and MatMul."""

from __future__ import annotations

import numpy as np

from furiosa.compiler.dfg.graph import Operator, Tensor
from furiosa.compiler.ldfg import arithmetic, rules
from furiosa.compiler.ldfg.arithmetic import f32
from furiosa.compiler.ldfg.lowering import NCHW_TO_NHWC, Facts, Lowering
from furiosa.compiler.ldfg.matmul import batched, batches, matmul, matrices
from furiosa.compiler.ldfg.onnx import normalization
from furiosa.compiler.ldfg.onnx.common import (
    bounds,
    is_wide,
    pair,
    window,
    window_problem,
)
from furiosa.compiler.ldfg.onnx.units import ACTIVATIONS, EIGHT_BIT, SLOPES, Unit


def _weight_problem(x: Tensor, w: Tensor, y: Tensor) -> str:
    """Why onnxruntime would not compute with these in integers; empty where it does."""
    if w.quantization is None:
        return ""
    if w.dtype == "uint8" and x.dtype == "int8":
        return "uint8 weights on int8 data"
    if x.dtype != y.dtype and {x.dtype, y.dtype} <= set(EIGHT_BIT):
        return f"{x.dtype} data and {y.dtype} result, which onnxruntime computes in float32"
    return ""


_HARMLESS = 2.0**-13  # LSB of the result: what rounding a bias to steps of the sums may move it by


def quantized_bias(
    low: Lowering, unit: Unit, b: Tensor | None, step: np.ndarray, by_reference: bool
) -> tuple[Tensor | np.ndarray | None, str]:
    """A bias in steps of the sums, float32 [1 or channels] each, and why there is none; empty where there is.

    Real constants onnxruntime quantises itself, ``by_reference``: float32(b / float32(s_x * s_w)), ties to even (its
    WeightBiasQuantization).  Where it does not, they are taken if as many steps are the same, and refused by a rule otherwise.
    """
    if b is None or b.dtype != "float32" or not b.is_constant or (step.size > 1 and b.shape != step.shape):
        return b, ""
    with np.errstate(over="ignore", invalid="ignore"):
        steps = np.rint(b.data / step)
        moved = np.abs(b.data.astype(float) - steps * step.astype(float)) / low.quantization(unit.output)[0]
    if not np.all(np.abs(steps) < normalization.LARGEST):  # false for a NaN
        return b, "a bias that no int32 of the sums' scale can hold"
    clips = unit.activation is None or unit.activation.op_type in ACTIVATIONS
    if not (by_reference and clips and not unit.apart) and np.any(moved > _HARMLESS):
        return b, ""
    return steps.astype(np.int32), ""


def parameters(
    low: Lowering,
    w: Tensor,
    weight: np.ndarray,
    b: Tensor | np.ndarray | None,
    x: Tensor,
    y: Tensor,
    alpha: float = 1.0,
) -> tuple[list, dict]:
    """Weight (already in the NPU's order, int8), bias and scale as constants, and the zero points that go with them.

    The bias is in steps of the sums, whatever scale it states; an array is one that is worked out already.
    """
    channels = weight.shape[0] if weight.ndim == 4 else weight.shape[2]
    s_in, z_in = low.quantization(x)
    s_out, z_out = low.quantization(y)
    data = b.data if isinstance(b, Tensor) else b
    bias = data.reshape(-1).astype(np.int32) if data is not None else np.zeros(channels, np.int32)
    if bias.size == 1 and channels > 1:
        bias = np.full(channels, bias[0], np.int32)
    scale = arithmetic.conv_scale(f32(f32(alpha) * s_in), w.quantization.scale, s_out, channels)
    z_w = int(w.quantization.zero_point.reshape(-1)[0]) - 128 * (w.dtype == "uint8")
    constants = [
        low.constant(w.name, weight, w.quantization),
        low.constant(f"{y.name}/bias", bias),
        low.constant(f"{y.name}/scale", scale),
    ]
    return constants, {"input_zero_point": z_in, "output_zero_point": z_out, "weight_zero_point": z_w}


@rules.requires(rules.CONV)
def conv(low: Lowering, unit: Unit) -> None:
    op = unit.op
    x, w = unit.inputs[:2]
    b = unit.inputs[2] if len(unit.inputs) > 2 else None
    y = unit.output
    groups = op.attributes.get("group", 1)
    kernel = list(w.shape[2:])
    folded = None
    problem = _weight_problem(x, w, y)
    quantized = all(t.quantization is not None for t in (x, w, y))
    if unit.normalization and not problem and quantized:
        folded, problem = _normalized(low, unit, x, w, b, y)
    elif not problem and quantized:
        b, problem = quantized_bias(low, unit, b, normalization.steps(low, x, w), by_reference=True)
    slope = _slope(unit.activation)
    if slope is not None and not (slope.size in (1, w.shape[0]) and np.all((slope >= 0) & (slope <= 1))):
        problem = problem or f"a {unit.activation.op_type} with a slope outside of 0 to 1"
    facts = Facts(
        op.op_type,
        [x, y],
        [w, *unit.inputs[2:]],
        w,
        b if isinstance(b, Tensor) and not unit.normalization else None,  # with one it may be of real numbers
        groups=1 if w.shape[1] == 1 else groups,
        dilations=tuple(op.attributes.get("dilations") or ()),
        spatial_rank=len(kernel),
        reference=problem,
        attribute=window_problem(op, x, y, kernel),
    )
    low.check(rules.CONV, facts)
    lo, hi = bounds(low, unit, y) if slope is None else (-128, 127)
    data = low.plain(w).data
    x, y = low.spatial(x), low.spatial_result(y)
    data = data.reshape(*data.shape[:2], *pair(kernel))
    attributes = window(op, x, y, data.shape[2:])
    if w.shape[1] == 1 and groups > 1:
        kind, weight = "npu.depthwise_conv2d", data[:, 0].transpose(1, 2, 0)
    else:
        kind, weight = "npu.conv2d", data.transpose(0, 2, 3, 1)
        attributes["groups"] = groups
    constants, zero_points = parameters(
        low, w, np.ascontiguousarray(weight), folded[0] if folded else b, x, y
    )
    if folded:
        constants[2] = low.constant(constants[2].name, folded[1])
    attributes |= {**zero_points, "clamp_min": lo, "clamp_max": hi}
    image = low.image(x)
    if is_wide(op, kernel):
        image = _padded(low, op, image, zero_points["input_zero_point"])
        attributes |= {"pad_top": 0, "pad_left": 0}
    operands = [image, *constants]
    if slope is None:
        low.emit_to(kind, operands, low.result(y, image=True), **attributes)
        return
    # where the slope is at most 1 the larger of v and slope * v is the activation, and rounding keeps the order
    gentle = low.constant(f"{y.name}/slope", (constants[2].data * slope).astype(f32))
    shape = tuple(y.shape[i] for i in NCHW_TO_NHWC)
    sides = [
        low.emit(kind, [*operands[:3], scale], y.name, shape, y.quantization, **attributes)
        for scale in (constants[2], gentle)
    ]
    low.emit_to("npu.maximum", sides, low.result(y, image=True))


def _padded(low: Lowering, op: Operator, image: Tensor, value: int) -> Tensor:
    """The image with its padding as an operator of its own."""
    pads = op.attributes["pads"]
    (top, left), (bottom, right) = pair(pads[: len(pads) // 2], 0), pair(pads[len(pads) // 2 :], 0)
    n, h, w, c = image.shape
    shape = (n, top + h + bottom, left + w + right, c)
    before = (0, top, left, 0)
    return low.emit("npu.pad", [image], image.name, shape, image.quantization, before=before, value=value)


def _slope(activation: Operator | None) -> np.ndarray | None:
    """float32 [1 or OC]: what LeakyRelu or PRelu multiplies negative numbers by; None for other activations."""
    if activation is None or activation.op_type not in SLOPES:
        return None
    if activation.op_type == "PRelu":
        return activation.inputs[1].data.reshape(-1).astype(f32)
    return np.full(1, activation.attributes.get("alpha", 0.01), f32)


def _normalized(
    low: Lowering, unit: Unit, x: Tensor, w: Tensor, b: Tensor | None, y: Tensor
) -> tuple[tuple[np.ndarray, np.ndarray] | None, str]:
    """Bias and scale of a convolution with its BatchNormalization, or why there are none.

    onnxruntime computes the two in float32: results may differ by one.
    """
    if b is not None and not b.is_constant:
        return None, ""  # another rule says so
    step = normalization.steps(low, x, w)
    bias, problem = normalization.bias_in_steps(b, step, w.shape[0])
    scale = arithmetic.conv_scale(
        low.quantization(x)[0], w.quantization.scale, low.quantization(y)[0], w.shape[0]
    )
    if not problem:
        bias, scale, problem = normalization.fold(unit.normalization, bias, scale, step)
    return (bias, scale), problem


@rules.requires(rules.MATMUL)
def gemm(low: Lowering, unit: Unit) -> None:
    """Gemm and MatMul: by a constant matrix, with one bias a column, a 1x1 convolution over [1, 1, rows, depth]; else MATMUL."""
    op = unit.op
    x, w = unit.inputs[:2]
    b = unit.inputs[2] if len(unit.inputs) > 2 else None
    y = unit.output
    a = op.attributes
    alpha = f32(a.get("alpha", 1.0))
    transposed = bool(a.get("transA", 0)), bool(a.get("transB", 0))
    reference = _weight_problem(x, w, y)
    if b is not None and (alpha != 1 or a.get("beta", 1.0) != 1.0):
        reference = reference or "alpha or beta with a bias, which onnxruntime computes in float32"
    constant = w.is_constant
    quantized = all(t.quantization is not None for t in (x, w, y))
    if alpha == a.get("beta", 1.0) == 1 and not reference and quantized:
        vector = b is not None and b.shape == y.shape[-1:]
        b, reference = quantized_bias(low, unit, b, normalization.steps(low, x, w), by_reference=vector)
    several = constant and w.quantization is not None and w.quantization.scale.size > 1
    problem = "weights per channel that are no matrix" if several and len(w.shape) != 2 else ""
    activations = [x, y] if constant else [x, w, y]
    per_column = b is None or b.size == 1 or (b.size == b.shape[-1] == y.shape[-1])
    as_convolution = constant and len(w.shape) == 2 and per_column
    facts = Facts(
        op.op_type,
        activations,
        unit.inputs[2:3],
        w if constant else None,
        b if isinstance(b, Tensor) else None,
        channel_axis=0 if transposed[1] else 1,
        dimension_groups=1 if as_convolution else 2 + len(batches(*matrices(x.shape, w.shape))[0]),
        reference=reference,
        attribute=problem,
    )
    low.check(rules.MATMUL, facts)
    lo, hi = bounds(low, unit, y)
    (s_x, z_x), (s_y, z_y) = low.quantization(x), low.quantization(y)
    s_w, z_w = (
        w.quantization.scale,
        int(w.quantization.zero_point.reshape(-1)[0]) - 128 * (w.dtype == "uint8"),
    )
    if as_convolution:
        data = low.plain(w).data
        weight = np.ascontiguousarray(data if transposed[1] else data.T)
        channels, depth = weight.shape
        weight = weight.reshape(channels, 1, 1, depth)
        constants, zero_points = parameters(low, w, weight, b, x, y, alpha)
        form = low.plain(x)
        if transposed[0]:
            form = low.emit("npu.transpose", [form], x.name, x.shape[::-1], x.quantization, perm=(1, 0))
        rows = x.size // depth
        matmul(low, form, rows, constants, low.result(y), **zero_points, clamp_min=lo, clamp_max=hi)
        return
    batched(
        low,
        (low.plain(x), low.plain(w)),
        transposed,
        b.data if isinstance(b, Tensor) else b,
        arithmetic.conv_scale(f32(alpha * s_x), s_w, s_y, s_w.size),
        low.result(y),
        a_zero_point=z_x,
        b_zero_point=z_w,
        output_zero_point=z_y,
        clamp_min=lo,
        clamp_max=hi,
    )
