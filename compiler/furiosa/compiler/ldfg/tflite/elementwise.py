"""ADD, SUB, MUL, MAXIMUM, MINIMUM."""

from __future__ import annotations

from furiosa.compiler.dfg.graph import Operator
from furiosa.compiler.ldfg import arithmetic, rules
from furiosa.compiler.ldfg.arithmetic import f32
from furiosa.compiler.ldfg.lowering import Facts, Lowering
from furiosa.compiler.ldfg.tflite.common import (
    activation,
    bounds,
    unsupported_activation,
)
from furiosa.enf.isa import Rounding


@rules.requires(rules.BINARY)
def add(low: Lowering, op: Operator) -> None:
    """ADD and SUB in XNNPACK's fixed point."""
    a, b, y = op.inputs[0], op.inputs[1], op.outputs[0]
    fixed = None
    if all(t.quantization is not None for t in (a, b, y)):
        (s_a, z_a), (s_b, z_b), (s_y, z_y) = (low.quantization(t) for t in (a, b, y))
        fixed = arithmetic.xnnpack_add(s_a, s_b, s_y)
    reference = "" if fixed else "scales so far apart that LiteRT uses another kernel"
    low.check(
        rules.BINARY,
        Facts(op.op_type, [a, b, y], [], reference=reference, attribute=unsupported_activation(op)),
    )
    m_a, m_b, shift = fixed
    lo, hi = bounds(low, y, activation(op), arithmetic.xnnpack_bounds)
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


@rules.requires(rules.BINARY)
def mul(low: Lowering, op: Operator) -> None:
    a, b, y = op.inputs[0], op.inputs[1], op.outputs[0]
    reference = "no quantisation"
    if all(t.quantization is not None for t in (a, b, y)):
        (s_a, z_a), (s_b, z_b), (s_y, z_y) = (low.quantization(t) for t in (a, b, y))
        m = f32(f32(s_a * s_b) / s_y)
        reference = "" if 2**-16 <= m < 2**8 else "scales so far apart that LiteRT uses another kernel"
    low.check(
        rules.BINARY,
        Facts(op.op_type, [a, b, y], [], reference=reference, attribute=unsupported_activation(op)),
    )
    lo, hi = bounds(low, y, activation(op), arithmetic.xnnpack_bounds)
    low.emit_to(
        "npu.mul",
        [low.plain(a), low.plain(b)],
        low.result(y),
        a_zero_point=z_a,
        b_zero_point=z_b,
        clamp_min=lo,
        clamp_max=hi,
        rounding=Rounding.XNNPACK,
        scale=float(m),
        output_offset=z_y,
    )


@rules.requires(rules.BINARY)
def maximum(low: Lowering, op: Operator) -> None:
    """MAXIMUM and MINIMUM compare the integers, whatever their scales."""
    a, b, y = op.inputs[0], op.inputs[1], op.outputs[0]
    low.check(rules.BINARY, Facts(op.op_type, [a, b, y], []))
    low.emit_to(f"npu.{op.op_type.lower()}", [low.plain(a), low.plain(b)], low.result(y))
