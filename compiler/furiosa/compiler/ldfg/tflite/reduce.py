"""MEAN, SUM, REDUCE_MAX, REDUCE_MIN; L2_NORMALIZATION and SOFTMAX."""

from __future__ import annotations

import math

import numpy as np

from furiosa.compiler.dfg.graph import Operator
from furiosa.compiler.ldfg import rules
from furiosa.compiler.ldfg.arithmetic import f32
from furiosa.compiler.ldfg.lowering import Facts, Lowering
from furiosa.compiler.ldfg.reduction import along, reduce, reduced_elements, runs
from furiosa.compiler.ldfg.tflite.common import activation
from furiosa.enf.isa import Reduction, Rounding


def _axes(low: Lowering, op: Operator) -> tuple[int, ...]:
    """The axes in ascending order; checks the rules of reductions."""
    x, given, y = op.inputs[0], op.inputs[1], op.outputs[0]
    axes: tuple[int, ...] = ()
    if given.is_constant and x.shape:
        axes = tuple(sorted({int(a) % len(x.shape) for a in given.data.reshape(-1)}))
    problem = "" if axes or not given.is_constant else "no axes"
    count = reduced_elements(x.shape, axes)
    groups = len(runs(x.shape, axes))
    facts = Facts(op.op_type, [x, y], [given], dimension_groups=groups, reduced=count, attribute=problem)
    low.check(rules.REDUCE, facts)
    return axes


@rules.requires(rules.REDUCE)
def mean(low: Lowering, op: Operator) -> None:
    """MEAN and SUM as XNNPACK has them: it sums raw values of the tensor's own type and adds its zero point before it rounds."""
    x, y = op.inputs[0], op.outputs[0]
    axes = _axes(low, op)
    count = reduced_elements(x.shape, axes)
    (s_x, z_x), (s_y, z_y) = low.quantization(x), low.quantization(y)
    offset_x, offset_y = 128 * (x.dtype == "uint8"), 128 * (y.dtype == "uint8")
    scale = f32(s_x / s_y)
    if op.op_type == "MEAN":
        scale = f32(f32(f32(1) / f32(count)) * scale)
    bias = f32(f32(z_y + offset_y) - f32(f32(count * (z_x + offset_x)) * scale))
    reduce(
        low,
        low.plain(x),
        axes,
        low.result(y),
        input_zero_point=-offset_x,
        scale=float(scale),
        bias=float(bias),
        output_offset=-offset_y,
    )


@rules.requires(rules.REDUCE)
def extreme(low: Lowering, op: Operator) -> None:
    """REDUCE_MAX and REDUCE_MIN pass the values on as they are, whatever the scales."""
    kind = Reduction.MAX if op.op_type == "REDUCE_MAX" else Reduction.MIN
    axes = _axes(low, op)
    reduce(low, low.plain(op.inputs[0]), axes, low.result(op.outputs[0]), reduction=kind)


@rules.requires(rules.LP_NORMALIZATION)
def l2_normalization(low: Lowering, op: Operator) -> None:
    """Along the last dimension, in the fixed point of LiteRT's builtin kernel."""
    x, y = op.inputs[0], op.outputs[0]
    reference = ""
    if y.quantization is not None and (low.quantization(y) != (f32(1 / 128), 0) or y.dtype != x.dtype):
        reference = "an output scale that is not 1/128, or a zero point that is not in the middle"
    elif activation(op) != "NONE":
        reference = f"fused activation {activation(op)}"
    depth = x.shape[-1] if x.shape else 1
    if depth * 255**2 >= 2**31:
        reference = "a sum of squares beyond LiteRT's 32-bit accumulator"
    facts = Facts(op.op_type, [x, y], [], batch=_batch(op), reduced=depth, reference=reference)
    low.check(rules.LP_NORMALIZATION, facts)
    along(
        low,
        "npu.l2_normalize",
        low.plain(x),
        (len(x.shape) - 1, len(x.shape)),
        [],
        low.result(y),
        input_zero_point=low.quantization(x)[1],
        output_zero_point=0,
        clamp_min=-128,
        clamp_max=127,
        rounding=Rounding.TFLITE_UINT8 if x.dtype == "uint8" else Rounding.TFLITE,
    )


@rules.requires(rules.SOFTMAX)
def softmax(low: Lowering, op: Operator) -> None:
    """By LiteRT's builtin kernel: a float32 table of exponentials by distance from the row's maximum."""
    x, y = op.inputs[0], op.outputs[0]
    reference = ""
    if y.quantization is not None and (low.quantization(y) != (f32(1 / 256), -128) or y.dtype != x.dtype):
        reference = "an output scale that is not 1/256"
    classes = x.shape[-1] if x.shape else 1
    facts = Facts(op.op_type, [x, y], [], batch=_batch(op), reduced=classes, reference=reference)
    low.check(rules.SOFTMAX, facts)
    factor = -f32(low.quantization(x)[0] * f32(op.attributes["beta"]))
    exponentials = np.array([math.exp(float(f32(factor * f32(d)))) for d in range(256)], np.float32)
    along(
        low,
        "npu.softmax",
        low.plain(x),
        (len(x.shape) - 1, len(x.shape)),
        [low.constant(f"{y.name}/table", exponentials)],
        low.result(y),
        output_offset=-128,
        factor=1 / 256,
        rounding=Rounding.TFLITE,
    )


def _batch(op: Operator) -> int:
    shape = op.inputs[0].shape
    return shape[0] if len(shape) > 1 else 1
