"""ADD, SUB, MUL, MAXIMUM, MINIMUM."""

from __future__ import annotations

from furiosa.compiler.dfg.graph import Operator
from furiosa.compiler.ldfg import arithmetic, rules
from furiosa.compiler.ldfg.arithmetic import f32
from furiosa.compiler.ldfg.lowering import Facts, Lowering
from furiosa.compiler.ldfg.tflite import fixed_point
from furiosa.compiler.ldfg.tflite.common import (
    activation,
    bounds,
    ordinary_scales,
    unsupported_activation,
)
from furiosa.enf.isa import Rounding


@rules.requires(rules.BINARY)
def add(low: Lowering, op: Operator) -> None:
    """ADD and SUB in XNNPACK's fixed point or, where it leaves them to the builtin kernel, in that one's."""
    a, b, y = op.inputs[0], op.inputs[1], op.outputs[0]
    scales = ordinary_scales(a, b, y)
    fixed = arithmetic.xnnpack_add(*scales)
    builtin = None if fixed else fixed_point.add(*scales)
    reference = "" if fixed or builtin else "an output scale so small that LiteRT's numbers overflow"
    low.check(
        rules.BINARY,
        Facts(op.op_type, [a, b, y], [], reference=reference, attribute=unsupported_activation(op)),
    )
    subtract = op.op_type == "SUB"
    if fixed:
        m_a, m_b, shift = fixed
        numbers = {"a_multiplier": m_a, "b_multiplier": -m_b if subtract else m_b, "shift": shift}
        numbers["rounding"] = Rounding.XNNPACK
        rule = arithmetic.xnnpack_bounds
    else:
        numbers = {**builtin, "rounding": Rounding.TFLITE, "subtract": int(subtract)}
        rule = arithmetic.tflite_bounds
    lo, hi = bounds(low, y, activation(op), rule)
    low.emit_to(
        "npu.add",
        [low.plain(a), low.plain(b)],
        low.result(y),
        a_zero_point=low.quantization(a)[1],
        b_zero_point=low.quantization(b)[1],
        output_zero_point=low.quantization(y)[1],
        clamp_min=lo,
        clamp_max=hi,
        **numbers,
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
