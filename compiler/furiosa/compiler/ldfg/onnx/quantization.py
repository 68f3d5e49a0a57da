"""QuantizeLinear and DequantizeLinear that belong to no unit."""

from __future__ import annotations

from furiosa.compiler.dfg.graph import Operator
from furiosa.compiler.ldfg import rules
from furiosa.compiler.ldfg.lowering import Facts, Lowering
from furiosa.compiler.ldfg.onnx.common import (
    table,
)
from furiosa.compiler.ldfg.onnx.units import DEQUANTIZE, EIGHT_BIT, QUANTIZE, Unit
from furiosa.enf.isa import Rounding


@rules.requires(rules.UNARY)
def dequantize(low: Lowering, unit: Unit) -> None:
    """Emitted only where somebody needs the real numbers."""
    op = unit.op
    x, y = op.inputs[0], op.outputs[0]
    if y not in low.graph.outputs and all(_absorbs(low, user, op) for user in low.consumers.get(y, [])):
        return
    low.check(rules.UNARY, Facts(op.op_type, [x], []))
    scale, zero_point = low.quantization(x)
    low.emit_to("npu.dequantize", [low.plain(x)], low.result(y), scale=float(scale), zero_point=zero_point)


def _absorbs(low: Lowering, user: Operator, dequantize: Operator) -> bool:
    """Whether a reader of the real numbers takes the quantised ones instead."""
    if user.op_type == QUANTIZE:
        return dequantize.inputs[0].dtype in EIGHT_BIT
    unit = low.unit_of.get(user)
    return unit is not None and dequantize in unit.operators


@rules.requires(rules.UNARY)
def quantize(low: Lowering, unit: Unit) -> None:
    op = unit.op
    x, y = op.inputs[0], op.outputs[0]
    source = low.producer.get(x)
    integers = low.integers(x)
    if source is not None and source.op_type == DEQUANTIZE and source.inputs[0].dtype in EIGHT_BIT:
        integers = source.inputs[0]
    if integers is not None:
        low.check(rules.UNARY, Facts(op.op_type, [integers, y], []))
        table(low, integers, y, lambda v: v)
        return
    reference = "" if x.dtype == "float32" else f"an input of type {x.dtype}"
    low.check(rules.UNARY, Facts(op.op_type, [y], [], reference=reference))
    scale, zero_point = low.quantization(y)
    image = low.has_image(x) and len(x.shape) == 4
    low.emit_to(
        "npu.quantize",
        [low.image(x) if image else low.plain(x)],
        low.result(y, image=image),
        scale=float(scale),
        zero_point=zero_point,
        rounding=Rounding.ONNXRUNTIME,
    )
