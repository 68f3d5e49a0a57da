"""QuantizeLinear and DequantizeLinear that belong to no unit."""

from __future__ import annotations

from furiosa.compiler.ldfg import rules
from furiosa.compiler.ldfg.lowering import Facts, Lowering
from furiosa.compiler.ldfg.onnx.common import (
    table,
)
from furiosa.compiler.ldfg.onnx.units import DEQUANTIZE, EIGHT_BIT, Unit
from furiosa.enf.isa import Rounding


@rules.requires(rules.UNARY)
def dequantize(low: Lowering, unit: Unit) -> None:
    """Emitted for an output of the model only: whatever else reads it takes it along."""
    op = unit.op
    x, y = op.inputs[0], op.outputs[0]
    if y not in low.results:
        return
    low.check(rules.UNARY, Facts(op.op_type, [x], []))
    scale, zero_point = low.quantization(x)
    low.emit_to("npu.dequantize", [low.plain(x)], low.result(y), scale=float(scale), zero_point=zero_point)


@rules.requires(rules.QUANTIZE)
def quantize(low: Lowering, unit: Unit) -> None:
    op = unit.op
    x, y = op.inputs[0], op.outputs[0]
    twin = low.twins.get(y)
    if twin is not None and low.is_made(twin) and low.producer[twin] not in low.verdicts:
        return  # the NPU has it already
    source = low.producer.get(x)
    integers = low.integers(x)
    if source is not None and source.op_type == DEQUANTIZE and source.inputs[0].dtype in EIGHT_BIT:
        integers = source.inputs[0]
    if integers is not None:
        low.check(rules.QUANTIZE, Facts(op.op_type, [integers, y], []))
        table(low, integers, y, lambda v: v)
        return
    reference = "" if x.dtype == "float32" else f"an input of type {x.dtype}"
    neighbour = f"{source.written_type} '{source.name}'" if source is not None else ""
    low.check(rules.QUANTIZE, Facts(op.op_type, [y], [], reference=reference, neighbour=neighbour))
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
