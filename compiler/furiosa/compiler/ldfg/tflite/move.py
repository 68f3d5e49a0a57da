"""Operators that move values and compute nothing.  LiteRT copies bytes or refuses other scales; only CONCATENATION requantises."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from furiosa.compiler.dfg.graph import Operator, Tensor
from furiosa.compiler.dfg.moves import Run, Runs, merged, padded, ranged, repeated, whole
from furiosa.compiler.frontend.tflite import move_shapes
from furiosa.compiler.ldfg import arithmetic, moves, rules
from furiosa.compiler.ldfg.arithmetic import clamp, f32
from furiosa.compiler.ldfg.lowering import Facts, Lowering
from furiosa.compiler.ldfg.tflite.common import activation, same_quantization


def facts(low: Lowering, op: Operator, *parameters: Tensor | None, **more: object) -> Facts:
    """The facts of a move from the inputs that are no parameters to all outputs."""
    inputs = [t for t in op.inputs if t is not None and t not in parameters]
    activations = [*inputs, *op.outputs]
    reference = ""
    if any(t.quantization is not None and t.quantization.scale.size != 1 for t in activations):
        reference = "a scale for each channel"
    elif not same_quantization(low, *activations):
        reference = "input and output with different scales"
    return Facts(op.op_type, activations, list(parameters), reference=reference, **more)


@rules.requires(rules.RESHAPE)
def reshape(low: Lowering, op: Operator) -> None:
    """RESHAPE, SQUEEZE and EXPAND_DIMS keep the bytes as they are, whatever the scales."""
    x, y = op.inputs[0], op.outputs[0]
    low.check(rules.RESHAPE, Facts(op.op_type, [x, y], []))
    low.emit_to("npu.reshape", [low.plain(x)], low.result(y))


@rules.requires(rules.MOVE)
def transpose(low: Lowering, op: Operator) -> None:
    x, perm, y = op.inputs[0], op.inputs[1], op.outputs[0]
    order = tuple(int(p) % len(x.shape) for p in perm.data.reshape(-1)) if perm.is_constant else ()
    low.check(rules.MOVE, facts(low, op, perm, moved=len(merged(x.shape, order)[0])))
    low.emit_to("npu.transpose", [low.plain(x)], low.result(y), perm=order)


@rules.requires(rules.PAD)
def pad(low: Lowering, op: Operator) -> None:
    """PAD with the zero point, PADV2 with a value, MIRROR_PAD with the tensor's own values."""
    x, pads, y = op.inputs[0], op.inputs[1], op.outputs[0]
    value = op.inputs[2] if len(op.inputs) > 2 else None
    if not pads.is_constant:
        low.check(rules.PAD, facts(low, op, pads, value))
    numbers = [int(p) for p in pads.data.reshape(-1)]
    before, after = numbers[::2], numbers[1::2]
    wide = [i for i in range(len(x.shape)) if before[i] or after[i]]
    found = facts(low, op, pads, value, dimensions=rules.dimensions(x, wide, low.channels_last))
    if op.op_type == "MIRROR_PAD":
        mode = op.attributes["mode"].lower()
        found.attribute = moves.pad_problem(x.shape, before, after, mode)
        if not found.attribute:
            found.runs = [padded(d, b, a, mode) for d, b, a in zip(x.shape, before, after)]
        low.check(rules.PAD, found)
        moves.take(low, low.plain(x), found.runs, low.result(y))
        return
    if value is None and x.quantization is None:
        found.reference = "no quantisation"
    low.check(rules.PAD, found)
    fill = low.quantization(x)[1] if value is None else int(low.plain(value).data.reshape(-1)[0])
    moves.constant_pad(low, low.plain(x), before, after, fill, low.result(y))


@rules.requires(rules.CONCAT)
def concatenation(low: Lowering, op: Operator) -> None:
    """A fused activation is the reference runtime's to ignore (XNNPACK) or to refuse: it stays on the host."""
    y = op.outputs[0]
    inputs = [t for t in op.inputs if t is not None and 0 not in t.shape]
    axis = op.attributes["axis"] % max(len(y.shape), 1)
    cut = rules.dimensions(y, [axis] if len(inputs) > 1 else [], low.channels_last)
    problem = "" if activation(op) == "NONE" else f"fused activation {activation(op)}"
    low.check(
        rules.CONCAT,
        Facts(
            op.op_type,
            [*inputs, y],
            [],
            dimensions=cut,
            attribute=problem,
            reference=_concat_problem(low, inputs, y),
        ),
    )
    parts = []
    for t in inputs:
        form = low.plain(t)
        if not same_quantization(low, t, y):
            lookup = low.table(f"{t.name}/requantize", _concat_requantize(low, t, y))
            form = low.emit("npu.table_lookup", [form, lookup], t.name, t.shape, y.quantization)
        parts.append(form)
    low.emit_to("npu.concat", parts, low.result(y), axis=axis)


def _concat_problem(low: Lowering, inputs: list[Tensor], y: Tensor) -> str:
    if any(t.quantization is not None and t.quantization.scale.size != 1 for t in (*inputs, y)):
        return "a scale for each channel"
    if same_quantization(low, *inputs, y):
        return ""
    if any(t.quantization is None for t in (*inputs, y)):
        return "no quantisation"
    return "" if y.dtype == "uint8" else "int8 inputs of another scale than the output, which LiteRT refuses"


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


@rules.requires(rules.CONCAT)
def pack(low: Lowering, op: Operator) -> None:
    """Concat of the inputs with one more dimension."""
    y = op.outputs[0]
    axis = op.attributes["axis"] % len(y.shape)
    cut = rules.dimensions(y, [axis] if len(op.inputs) > 1 else [], low.channels_last)
    low.check(rules.CONCAT, facts(low, op, dimensions=cut))
    one = (*y.shape[:axis], 1, *y.shape[axis + 1 :])
    parts = [moves.reshaped(low, low.plain(t), one) for t in op.inputs]
    low.emit_to("npu.concat", parts, low.result(y), axis=axis)


@rules.requires(rules.SLICE)
def slice_(low: Lowering, op: Operator) -> None:
    """SLICE and STRIDED_SLICE; dimensions that the latter leaves out or adds have one element."""
    x, *bounds = op.inputs
    ranges, problem = None, ""
    if op.op_type == "SLICE":
        ranges = move_shapes.slice_ranges(op)
    elif found := move_shapes.strided_slice(op):
        ranges = found[0]
    elif op.attributes["offset"]:
        problem = "ends as offsets from the starts"
    cut = [] if ranges is None else [i for i, r in enumerate(ranges) if r != range(x.shape[i])]
    runs = [] if ranges is None else [ranged(r) for r in ranges]
    dimensions = rules.dimensions(x, cut, low.channels_last)
    low.check(rules.SLICE, facts(low, op, *bounds, dimensions=dimensions, runs=runs, attribute=problem))
    _taken(low, x, runs, op.outputs[0])


@rules.requires(rules.MOVE)
def split(low: Lowering, op: Operator) -> None:
    """SPLIT and SPLIT_V."""
    x, *parameters = reversed(op.inputs) if op.op_type == "SPLIT" else op.inputs
    low.check(rules.MOVE, facts(low, op, *parameters))
    axis, sizes = move_shapes.split_axis(op)
    _parts(low, x, axis, sizes, op.outputs)


@rules.requires(rules.MOVE)
def unpack(low: Lowering, op: Operator) -> None:
    """Split in parts of one, without that dimension."""
    x = op.inputs[0]
    low.check(rules.MOVE, facts(low, op))
    _parts(low, x, op.attributes["axis"] % len(x.shape), [1] * len(op.outputs), op.outputs)


def _parts(low: Lowering, x: Tensor, axis: int, sizes: list[int], outputs: list[Tensor]) -> None:
    at = 0
    for y, size in zip(outputs, sizes):
        runs = list(map(whole, x.shape))
        runs[axis] = (Run(at, 1, size),)
        _taken(low, x, runs, y)
        at += size


@rules.requires(rules.MOVE)
def repeat(low: Lowering, op: Operator) -> None:
    """BROADCAST_TO and TILE."""
    x, how, y = op.inputs[0], op.inputs[1], op.outputs[0]
    shape = (1,) * (len(y.shape) - len(x.shape)) + x.shape
    runs = [repeated(d, e // d) for d, e in zip(shape, y.shape)]
    low.check(rules.MOVE, facts(low, op, how, runs=runs))
    moves.take(low, moves.reshaped(low, low.plain(x), shape), runs, low.result(y))


@rules.requires(rules.MOVE)
def reverse(low: Lowering, op: Operator) -> None:
    x, axes, y = op.inputs[0], op.inputs[1], op.outputs[0]
    back = {int(a) % len(x.shape) for a in axes.data.reshape(-1)} if axes.is_constant else set()
    runs = [ranged(range(d - 1, -1, -1)) if i in back else whole(d) for i, d in enumerate(x.shape)]
    low.check(rules.MOVE, facts(low, op, axes, runs=runs))
    moves.take(low, low.plain(x), runs, low.result(y))


def _taken(low: Lowering, x: Tensor, runs: Sequence[Runs], y: Tensor) -> None:
    """A take whose result may be seen with another shape."""
    shape = tuple(sum(run.count for run in r) for r in runs)
    if shape == y.shape:
        moves.take(low, low.plain(x), runs, low.result(y))
        return
    part = Tensor(y.name, shape, "int8", y.quantization)
    moves.take(low, low.plain(x), runs, part)
    low.emit_to("npu.reshape", [part], low.result(y))
