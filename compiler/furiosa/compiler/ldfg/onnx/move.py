"""Reshape and its kin, Transpose, Concat, Pad: what moves values and computes nothing."""

from __future__ import annotations

import numpy as np

from furiosa.compiler.ldfg import rules
from furiosa.compiler.ldfg.arithmetic import clamp, f32
from furiosa.compiler.ldfg.lowering import NCHW_TO_NHWC, NHWC_TO_NCHW, Facts, Lowering
from furiosa.compiler.ldfg.onnx.common import (
    layout,
    mismatch,
    requantization,
)
from furiosa.compiler.ldfg.onnx.units import EIGHT_BIT, Unit

NHWC_AXIS = (0, 3, 1, 2)  # where an axis of NCHW stands in NHWC


@rules.requires(rules.RESHAPE)
def reshape(low: Lowering, unit: Unit) -> None:
    x, y = unit.inputs[0], unit.output
    low.check(rules.RESHAPE, Facts(unit.op.op_type, [x, y], [], reference=mismatch(low, unit, x, y)))
    low.emit_to("npu.reshape", [low.plain(x)], low.result(y))


@rules.requires(rules.MOVE)
def transpose(low: Lowering, unit: Unit) -> None:
    x, y = unit.inputs[0], unit.output
    low.check(rules.MOVE, Facts(unit.op.op_type, [x, y], [], reference=mismatch(low, unit, x, y)))
    perm = tuple(unit.op.attributes.get("perm") or reversed(range(len(x.shape))))
    if perm == NCHW_TO_NHWC and low.has_image(x):
        low.emit_to("npu.reshape", [low.image(x)], low.result(y))
    elif perm == NHWC_TO_NCHW:
        low.emit_to("npu.reshape", [low.plain(x)], low.result(y, image=True))
    else:
        low.emit_to("npu.transpose", [low.plain(x)], low.result(y), perm=perm)


@rules.requires(rules.ELEMENTWISE)
def concat(low: Lowering, unit: Unit) -> None:
    inputs = [t for t in unit.inputs if t is not None]
    y = unit.output
    low.check(rules.ELEMENTWISE, Facts(unit.op.op_type, [*inputs, y], []))
    image = layout(low, y, *inputs)
    axis = unit.op.attributes["axis"] % len(y.shape)
    parts = []
    for t in inputs:
        form = low.image(t) if image else low.plain(t)
        if mismatch(low, unit, t, y):
            lookup = low.table(f"{t.name}/requantize", requantization(low, t, y, unit))
            form = low.emit("npu.table_lookup", [form, lookup], t.name, form.shape, y.quantization)
        parts.append(form)
    low.emit_to("npu.concat", parts, low.result(y, image=image), axis=NHWC_AXIS[axis] if image else axis)


@rules.requires(rules.PAD)
def pad(low: Lowering, unit: Unit) -> None:
    op = unit.op
    x, y = unit.inputs[0], unit.output
    constants = [t for t in unit.inputs[1:] if t is not None]
    rank = len(x.shape)
    pads = op.attributes.get("pads")
    if pads is None:
        pads = [int(p) for p in unit.inputs[1].data.reshape(-1)] if unit.inputs[1].is_constant else []
    axes = unit.inputs[3] if len(unit.inputs) > 3 else None
    mode = op.attributes.get("mode", "constant")
    problem = (
        ""
        if mode == "constant" and axes is None and min(pads, default=0) >= 0
        else f"mode {mode}, axes or negative pads"
    )
    facts = Facts(op.op_type, [x, y], constants, reference=mismatch(low, unit, x, y), attribute=problem)
    low.check(rules.PAD, facts)
    value = unit.inputs[2] if len(unit.inputs) > 2 else None
    real = float(op.attributes.get("value", 0.0))
    scale, zero_point = low.quantization(x)
    fill = clamp(np.rint(f32(f32(real) / scale)) + zero_point)
    if value is not None:
        if value.dtype in EIGHT_BIT:
            fill = int(low.plain(value).data.reshape(-1)[0])
        else:
            fill = clamp(np.rint(f32(f32(value.data.reshape(-1)[0]) / scale)) + zero_point)
    image = layout(low, y, x)
    before = tuple(pads[:rank])
    if image:
        before = tuple(before[i] for i in NCHW_TO_NHWC)
    source = low.image(x) if image else low.plain(x)
    low.emit_to("npu.pad", [source], low.result(y, image=image), before=before, value=fill)
