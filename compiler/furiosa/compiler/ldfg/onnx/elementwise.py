"""Add, Sub, Mul, functions of one value, Softmax."""

from __future__ import annotations

import math

import numpy as np

from furiosa.compiler.ldfg import rules
from furiosa.compiler.ldfg.arithmetic import f32
from furiosa.compiler.ldfg.lowering import Facts, Lowering
from furiosa.compiler.ldfg.onnx import units
from furiosa.compiler.ldfg.onnx.common import (
    bounds,
    layout,
    limits,
    table,
)
from furiosa.compiler.ldfg.onnx.units import Unit
from furiosa.enf.isa import Rounding


@rules.requires(rules.ELEMENTWISE)
def add(low: Lowering, unit: Unit) -> None:
    """Add: onnxruntime's fused QLinearAdd; with an activation of its own, or Sub, the float32 operators one by one."""
    op = unit.op
    a, b = unit.inputs[:2]
    y = unit.output
    subtract = op.op_type == "Sub"
    low.check(rules.ELEMENTWISE, Facts(op.op_type, [a, b, y], []))
    (s_a, z_a), (s_b, z_b), (s_y, z_y) = (low.quantization(t) for t in (a, b, y))
    lo, hi = bounds(low, unit, y)
    image = layout(low, y, a, b)
    clipped = lo > -128 or hi < 127  # an activation that the output's range does not imply: not fused there
    more: dict[str, float] = {}
    if subtract or clipped or len({t.dtype for t in (a, b, y)}) > 1:
        rounding = Rounding.QDQ
        more = {
            "a_scale": float(s_a),
            "b_scale": float(-s_b if subtract else s_b),
            "output_scale": float(s_y),
        }
    else:
        rounding = Rounding.ONNXRUNTIME
        if a.size < b.size or (a.size == 1 and b.size != 1):  # the kernel takes the broadcast operand second
            (a, b), (s_a, s_b), (z_a, z_b) = (b, a), (s_b, s_a), (z_b, z_a)
        raw = 128 if y.dtype == "uint8" else 0
        ra, rb = f32(s_a / s_y), f32(s_b / s_y)
        bias = f32(f32(z_y + raw) - _fma(ra, z_a + raw, f32(rb * f32(z_b + raw))))
        more = {"a_scale": float(ra), "b_scale": float(rb), "bias": float(bias), "raw_offset": raw}
    inputs = [low.image(t) if image else low.plain(t) for t in (a, b)]
    low.emit_to(
        "npu.add",
        inputs,
        low.result(y, image=image),
        a_zero_point=z_a,
        b_zero_point=z_b,
        output_zero_point=z_y,
        clamp_min=lo,
        clamp_max=hi,
        rounding=rounding,
        **more,
    )


def _fma(a: np.float32, b: int, c: np.float32) -> np.float32:
    """a * b + c rounded once to float32; exact in float64 for an 8-bit b."""
    return f32(float(a) * b + float(c))


@rules.requires(rules.ELEMENTWISE)
def mul(low: Lowering, unit: Unit) -> None:
    op = unit.op
    a, b = unit.inputs[:2]
    y = unit.output
    low.check(rules.ELEMENTWISE, Facts(op.op_type, [a, b, y], []))
    (s_a, z_a), (s_b, z_b), (s_y, z_y) = (low.quantization(t) for t in (a, b, y))
    lo, hi = bounds(low, unit, y)
    image = layout(low, y, a, b)
    raw = (
        128 if y.dtype == "uint8" else 0
    )  # the kernel adds the zero point of the tensor's own type before it rounds
    low.emit_to(
        "npu.mul",
        [low.image(t) if image else low.plain(t) for t in (a, b)],
        low.result(y, image=image),
        a_zero_point=z_a,
        b_zero_point=z_b,
        clamp_min=lo,
        clamp_max=hi,
        rounding=Rounding.ONNXRUNTIME,
        scale=float(f32(f32(s_a * s_b) / s_y)),
        float_zero_point=z_y + raw,
        output_offset=-raw,
    )


@rules.requires(rules.ELEMENTWISE)
def unary(low: Lowering, unit: Unit) -> None:
    """Any function of one value: a table."""
    op = unit.op
    x, y = unit.inputs[0], unit.output
    low.check(rules.ELEMENTWISE, Facts(op.op_type, [x, y], []))
    kind = units.plain_type(op)
    if kind in ("Relu", "Clip"):
        lo, hi = limits(op)
        table(low, x, y, lambda v: min(max(v, lo), hi), unit)
    elif kind == "Sigmoid":
        table(low, x, y, lambda v: 1.0 / (1.0 + math.exp(-v)) if v > -700 else 0.0, unit)
    elif kind == "Tanh":
        table(low, x, y, math.tanh, unit)
    else:  # LeakyRelu
        alpha = f32(op.attributes.get("alpha", 0.01))
        table(low, x, y, lambda v: v if v >= 0 else float(f32(f32(v) * alpha)), unit)


@rules.requires(rules.SOFTMAX)
def softmax(low: Lowering, unit: Unit) -> None:
    op = unit.op
    x, y = unit.inputs[0], unit.output
    rank = len(x.shape)
    axis = op.attributes.get("axis", -1) % rank
    opset = op.attributes.get("opset", low.graph.source.opsets.get("", 13))
    last = axis == rank - 1 if opset >= 13 else all(d == 1 for d in x.shape[axis + 1 :])
    problem = "" if last else f"axis {axis} of {rank} dimensions"
    low.check(
        rules.SOFTMAX, Facts(op.op_type, [x, y], [], batch=x.shape[0] if rank > 1 else 1, attribute=problem)
    )
    classes = math.prod(x.shape[axis:])
    s_x, (s_y, z_y) = low.quantization(x)[0], low.quantization(y)
    largest = f32(f32(np.finfo(np.float32).max) / f32(classes))
    shift = max(0.0, float(f32(f32(math.log(float(largest))) - f32(5)))) / float(s_x)
    exponentials = np.array([math.exp((shift - d) * float(s_x)) for d in range(256)]).astype(np.float32)
    rows = x.size // classes
    shaped = low.emit("npu.reshape", [low.plain(x)], x.name, (rows, classes), x.quantization)
    out = low.emit(
        "npu.softmax",
        [shaped, low.constant(f"{y.name}/table", exponentials)],
        y.name,
        shaped.shape,
        y.quantization,
        output_offset=z_y,
        factor=float(math.floor(f32(f32(1) / s_y))),
        rounding=Rounding.ONNXRUNTIME,
    )
    low.emit_to("npu.reshape", [out], low.result(y))
