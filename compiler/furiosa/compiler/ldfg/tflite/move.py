"""PAD, CONCATENATION, RESHAPE and its kin, TRANSPOSE: what moves values."""

from __future__ import annotations

from collections.abc import Callable

from furiosa.compiler.dfg.graph import Operator, Tensor
from furiosa.compiler.ldfg import arithmetic, rules
from furiosa.compiler.ldfg.arithmetic import clamp, f32
from furiosa.compiler.ldfg.lowering import Facts, Lowering
from furiosa.compiler.ldfg.tflite.common import (
    same_quantization,
    unsupported_activation,
)


@rules.requires(rules.ELEMENTWISE)
def pad(low: Lowering, op: Operator) -> None:
    x, pads, y = op.inputs[0], op.inputs[1], op.outputs[0]
    value = op.inputs[2] if len(op.inputs) > 2 else None
    reference = ""
    if not same_quantization(low, x, y) or x.quantization is None:
        reference = "input and output with different scales"
    low.check(rules.ELEMENTWISE, Facts(op.op_type, [x, y], [pads, value], reference=reference))
    fill = low.quantization(x)[1]
    if value is not None:
        fill = int(low.plain(value).data.reshape(-1)[0])
    before = [int(p) for p in pads.data.reshape(-1, 2)[:, 0]]
    low.emit_to("npu.pad", [low.plain(x)], low.result(y), before=tuple(before), value=fill)


@rules.requires(rules.ELEMENTWISE)
def concatenation(low: Lowering, op: Operator) -> None:
    y = op.outputs[0]
    inputs = [t for t in op.inputs if t is not None]
    low.check(rules.ELEMENTWISE, Facts(op.op_type, [*inputs, y], [], attribute=unsupported_activation(op)))
    parts = []
    for t in inputs:
        form = low.plain(t)
        if not same_quantization(low, t, y):
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


@rules.requires(rules.RESHAPE)
def reshape(low: Lowering, op: Operator) -> None:
    """RESHAPE, SQUEEZE and EXPAND_DIMS keep the bytes as they are."""
    x, y = op.inputs[0], op.outputs[0]
    low.check(rules.RESHAPE, Facts(op.op_type, [x, y], []))
    low.emit_to("npu.reshape", [low.plain(x)], low.result(y))


@rules.requires(rules.MOVE)
def transpose(low: Lowering, op: Operator) -> None:
    x, perm, y = op.inputs[0], op.inputs[1], op.outputs[0]
    low.check(rules.MOVE, Facts(op.op_type, [x, y], [perm]))
    order = tuple(int(p) for p in perm.data.reshape(-1))
    low.emit_to("npu.transpose", [low.plain(x)], low.result(y), perm=order)
