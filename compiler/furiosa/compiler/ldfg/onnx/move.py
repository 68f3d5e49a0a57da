"""Operators that move values and compute nothing; between quantised tensors of other scales a table requantises on the way."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from furiosa.compiler.dfg.graph import Tensor
from furiosa.compiler.dfg.moves import Run, Runs, listed, merged, padded, ranged, repeated, whole
from furiosa.compiler.ldfg import moves, rules
from furiosa.compiler.ldfg.arithmetic import clamp, f32
from furiosa.compiler.ldfg.lowering import NCHW_TO_NHWC, NHWC_TO_NCHW, Facts, Lowering
from furiosa.compiler.ldfg.onnx.common import bounds, layout, mismatch, requantization
from furiosa.compiler.ldfg.onnx.units import EIGHT_BIT, Unit

NHWC_AXIS = (0, 3, 1, 2)  # where an axis of NCHW stands in NHWC


def _facts(low: Lowering, unit: Unit, **more: object) -> Facts:
    """The facts of a move; what follows the data input are constants that say how."""
    inputs = [t for t in unit.inputs if t is not None]
    activations = [inputs[0], *unit.outputs]
    reference = ""
    if unit.dequantizes and any(t.quantization is None for t in activations):
        reference = "no quantisation"
    elif any(t.quantization is not None and t.quantization.scale.size != 1 for t in activations):
        reference = "a scale for each channel"
    return Facts(unit.op.op_type, activations, inputs[1:], reference=reference, **more)


def _moved(
    low: Lowering, unit: Unit, x: Tensor, y: Tensor, image: bool, move: Callable[[Tensor, Tensor], object]
) -> None:
    """Emits a move from x to y, and the table between their scales on the side of the fewer values."""
    form = low.image(x) if image else low.plain(x)
    out = low.result(y, image=image)
    if not (unit.dequantizes and mismatch(low, unit, x, y)):  # an operator on bytes does not look at scales
        move(form, out)
        return
    table = low.table(f"{y.name}/requantize", requantization(low, x, y, unit))
    if y.size < x.size and unit.op.op_type != "Pad":  # the value that Pad writes is of the output's scale
        part = Tensor(y.name, out.shape, "int8", x.quantization)
        move(form, part)
        low.emit_to("npu.table_lookup", [part, table], out)
    else:
        form = low.emit("npu.table_lookup", [form, table], x.name, form.shape, y.quantization)
        move(form, out)


def _taken(low: Lowering, unit: Unit, x: Tensor, y: Tensor, runs: list[Runs]) -> None:
    """Emits a take with the indices of each dimension of the source."""
    image = layout(low, y, x)
    if image:
        runs = [runs[i] for i in NCHW_TO_NHWC]
    _moved(low, unit, x, y, image, lambda a, b: moves.take(low, a, runs, b))


@rules.requires(rules.RESHAPE)
def reshape(low: Lowering, unit: Unit) -> None:
    """Reshape, Flatten, Squeeze, Unsqueeze, Identity and Dropout keep the values in their order."""
    x, y = unit.inputs[0], unit.output
    training = unit.inputs[2] if unit.op.op_type == "Dropout" and len(unit.inputs) > 2 else None
    problem = (
        "" if training is None or (training.is_constant and not training.data.any()) else "training mode"
    )
    low.check(rules.RESHAPE, _facts(low, unit, attribute=problem))
    image = x.shape == y.shape and layout(low, y, x)
    _moved(low, unit, x, y, image, lambda a, b: low.emit_to("npu.reshape", [a], b))


@rules.requires(rules.MOVE)
def transpose(low: Lowering, unit: Unit) -> None:
    x, y = unit.inputs[0], unit.output
    perm = tuple(unit.op.attributes.get("perm") or reversed(range(len(x.shape))))
    low.check(rules.MOVE, _facts(low, unit, moved=len(merged(x.shape, perm)[0])))
    if mismatch(low, unit, x, y) and unit.dequantizes:
        _moved(low, unit, x, y, False, lambda a, b: low.emit_to("npu.transpose", [a], b, perm=perm))
    elif perm == NCHW_TO_NHWC and low.has_image(x):
        low.emit_to("npu.reshape", [low.image(x)], low.result(y))
    elif perm == NHWC_TO_NCHW:
        low.emit_to("npu.reshape", [low.plain(x)], low.result(y, image=True))
    else:
        low.emit_to("npu.transpose", [low.plain(x)], low.result(y), perm=perm)


@rules.requires(rules.CONCAT)
def concat(low: Lowering, unit: Unit) -> None:
    inputs = [t for t in unit.inputs if t is not None and 0 not in t.shape]
    y = unit.output
    axis = unit.op.attributes["axis"] % max(len(y.shape), 1)
    cut = rules.dimensions(y, [axis] if len(inputs) > 1 else [], low.channels_last)
    low.check(rules.CONCAT, Facts(unit.op.op_type, [*inputs, y], [], dimensions=cut))
    image = layout(low, y, *inputs)
    requantizes = unit.dequantizes or unit.op.op_type == "QLinearConcat"
    parts = []
    for t in inputs:
        form = low.image(t) if image else low.plain(t)
        if requantizes and mismatch(low, unit, t, y):
            lookup = low.table(f"{t.name}/requantize", requantization(low, t, y, unit))
            form = low.emit("npu.table_lookup", [form, lookup], t.name, form.shape, y.quantization)
        parts.append(form)
    low.emit_to("npu.concat", parts, low.result(y, image=image), axis=NHWC_AXIS[axis] if image else axis)


@rules.requires(rules.SLICE)
def slice_(low: Lowering, unit: Unit) -> None:
    x, y = unit.inputs[0], unit.output
    if any(t is not None and not t.is_constant for t in unit.inputs[1:]):
        low.check(rules.SLICE, _facts(low, unit))
    starts, ends, axes, steps = (_list(unit, name, i + 1) for i, name in enumerate(_SLICE))
    ranges = [range(d) for d in x.shape]
    for i, (start, end) in enumerate(zip(starts, ends)):
        axis = i if axes is None else axes[i]
        ranges[axis] = range(x.shape[axis])[slice(start, end, 1 if steps is None else steps[i])]
    cut = [i for i, r in enumerate(ranges) if r != range(x.shape[i])]
    runs = [ranged(r) for r in ranges]
    facts = _facts(low, unit, dimensions=rules.dimensions(x, cut, low.channels_last), runs=runs)
    low.check(rules.SLICE, facts)
    _taken(low, unit, x, y, runs)


_SLICE = ("starts", "ends", "axes", "steps")


def _list(unit: Unit, name: str, position: int) -> list[int] | None:
    """A list of numbers that is an attribute in old operator sets and a constant input in new ones."""
    if name in unit.op.attributes:
        return list(unit.op.attributes[name])
    t = unit.inputs[position] if position < len(unit.inputs) else None
    return None if t is None else [int(v) for v in t.data.reshape(-1)]


@rules.requires(rules.MOVE)
def split(low: Lowering, unit: Unit) -> None:
    """One take an output.  Where no sizes are given, the parts are equal, but for a smaller last one."""
    x, outputs = unit.inputs[0], unit.op.outputs
    low.check(rules.MOVE, _facts(low, unit))
    axis = unit.op.attributes.get("axis", 0) % len(x.shape)
    size = x.shape[axis]
    part = -(-size // len(outputs))
    sizes = _list(unit, "split", 1) or [min(part, size - at) for at in range(0, size, part)]
    made = iter(unit.outputs)
    at = 0
    for t, size in zip(outputs, sizes):
        if t.name:
            runs = list(map(whole, x.shape))
            runs[axis] = (Run(at, 1, size),)
            _taken(low, unit, x, next(made), runs)
        at += size


@rules.requires(rules.MOVE)
def gather(low: Lowering, unit: Unit) -> None:
    """Gather by constant indices takes them along one dimension, which becomes the dimensions of the indices."""
    x, y = unit.inputs[0], unit.output
    indices = unit.inputs[1]
    if not indices.is_constant:
        low.check(rules.MOVE, _facts(low, unit))
    axis = unit.op.attributes.get("axis", 0) % len(x.shape)
    taken = indices.data.reshape(-1).tolist()
    runs = list(map(whole, x.shape))
    runs[axis] = listed([i % x.shape[axis] for i in taken])
    low.check(rules.MOVE, _facts(low, unit, runs=runs, moved=len(x.shape)))
    flat = (*x.shape[:axis], len(taken), *x.shape[axis + 1 :])
    if flat == y.shape:
        _taken(low, unit, x, y, runs)
        return

    def move(a: Tensor, b: Tensor) -> None:
        part = Tensor(b.name, flat, "int8", b.quantization)
        moves.take(low, a, runs, part)
        low.emit_to("npu.reshape", [part], b)

    _moved(low, unit, x, y, False, move)


@rules.requires(rules.MOVE)
def expand(low: Lowering, unit: Unit) -> None:
    """Expand repeats dimensions of one element, Tile any; the shorter shape has leading dimensions of one element."""
    x, y = unit.inputs[0], unit.output
    rank = len(y.shape)
    shape = (1,) * (rank - len(x.shape)) + x.shape
    runs = [repeated(d, e // d) for d, e in zip(shape, y.shape)]
    low.check(rules.MOVE, _facts(low, unit, runs=runs))
    if shape == x.shape:
        _taken(low, unit, x, y, runs)
    else:
        _moved(low, unit, x, y, False, lambda a, b: moves.take(low, moves.reshaped(low, a, shape), runs, b))


@rules.requires(rules.BLOCKS)
def depth_to_space(low: Lowering, unit: Unit) -> None:
    op, x, y = unit.op, unit.inputs[0], unit.output
    low.check(rules.BLOCKS, _facts(low, unit, mode=op.attributes.get("mode", "DCR")))
    image, block = layout(low, y, x), op.attributes["blocksize"]

    def move(a: Tensor, b: Tensor) -> None:
        if op.op_type == "SpaceToDepth":
            moves.space_to_depth(low, a, block, b, channels_last=image)
        else:
            crd = op.attributes.get("mode", "DCR") == "CRD"
            moves.depth_to_space(low, a, block, b, channels_last=image, crd=crd)

    _moved(low, unit, x, y, image, move)


@rules.requires(rules.PAD)
def pad(low: Lowering, unit: Unit) -> None:
    """Negative paddings take away."""
    op, x, y = unit.op, unit.inputs[0], unit.output
    if any(t is not None and not t.is_constant for t in unit.inputs[1:]):
        low.check(rules.PAD, _facts(low, unit))
    rank = len(x.shape)
    pads, axes = _list(unit, "pads", 1), _list(unit, "axes", 3)
    before, after = [0] * rank, [0] * rank
    for i in range(len(pads) // 2):
        axis = i if axes is None else axes[i]
        before[axis], after[axis] = pads[i], pads[len(pads) // 2 + i]
    cut = rules.dimensions(x, [i for i in range(rank) if before[i] or after[i]], low.channels_last)
    mode = op.attributes.get("mode", "constant")
    if mode != "constant":
        problem = moves.pad_problem(x.shape, before, after, mode)
        runs = list(map(whole, x.shape))
        if not problem:
            runs = [padded(d, b, a, mode) for d, b, a in zip(x.shape, before, after)]
        low.check(rules.PAD, _facts(low, unit, dimensions=cut, runs=runs, attribute=problem))
        _taken(low, unit, x, y, runs)
        return
    low.check(rules.PAD, _facts(low, unit, dimensions=cut))
    image = layout(low, y, x)
    if image:
        before, after = ([p[i] for i in NCHW_TO_NHWC] for p in (before, after))
    value = _fill(low, unit, y)
    _moved(low, unit, x, y, image, lambda a, b: moves.constant_pad(low, a, before, after, value, b))


def _fill(low: Lowering, unit: Unit, y: Tensor) -> int:
    """The value of a constant padding in the int8 form: quantised as the output is, or a byte as it stands."""
    value = unit.inputs[2] if len(unit.inputs) > 2 else None
    stored = 0.0 if value is None else value.data.reshape(-1)[0]
    if unit.op.outputs[0].dtype in EIGHT_BIT:
        return int(stored) - 128 * (y.dtype == "uint8")
    if value is None:
        real = f32(unit.op.attributes.get("value", 0.0))
    elif value.dtype in EIGHT_BIT:
        q = value.quantization
        real = f32(f32(int(stored) - int(q.zero_point[0])) * f32(q.scale[0]))
    else:
        real = f32(stored)
    scale, zero_point = low.quantization(y)
    return clamp(np.rint(f32(real / scale)) + zero_point, *bounds(low, unit, y))
