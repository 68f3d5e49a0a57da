"""Reduce operators, GlobalAveragePool, Sum, Mean; LpNormalization and Softmax.

onnxruntime computes ReduceSum, ReduceMean, ReduceL2 and LpNormalization in float32 between quantised tensors.  It adds real numbers in
an order of its own, which depends on the processor; here the sum is that of the integers, exact, and rounded once.  Where
the input's scale is a power of two the two are the same; elsewhere they are but for ties, and then by one in the last place.
"""

from __future__ import annotations

import math

import numpy as np

from furiosa.compiler.dfg.graph import Tensor
from furiosa.compiler.dfg.moves import repeated
from furiosa.compiler.ldfg import moves, rules
from furiosa.compiler.ldfg.arithmetic import f32
from furiosa.compiler.ldfg.lowering import NCHW_TO_NHWC, NHWC_TO_NCHW, Facts, Lowering
from furiosa.compiler.ldfg.onnx.common import bounds, is_fused, layout, real_numbers, table
from furiosa.compiler.ldfg.onnx.elementwise import add
from furiosa.compiler.ldfg.onnx.move import NHWC_AXIS
from furiosa.compiler.ldfg.onnx.units import EIGHT_BIT, Unit
from furiosa.compiler.ldfg.reduction import along, reduce, reduced_elements, runs
from furiosa.enf.isa import Reduction, Rounding


def _axes(unit: Unit) -> tuple[tuple[int, ...], Tensor | None]:
    """The axes of a Reduce operator in ascending order, and the input that gives them."""
    rank = len(unit.inputs[0].shape)
    given = unit.inputs[1] if len(unit.inputs) > 1 else None
    stated = unit.op.attributes.get("axes") or ()
    if given is not None and given.is_constant:
        stated = given.data.reshape(-1)
    return tuple(sorted({int(a) % max(rank, 1) for a in stated if rank})), given


_REDUCTIONS = {"ReduceL2": Reduction.L2, "ReduceMax": Reduction.MAX, "ReduceMin": Reduction.MIN}


@rules.requires(rules.REDUCE)
def reduction(low: Lowering, unit: Unit) -> None:
    """ReduceSum, ReduceMean, ReduceL2, ReduceMax, ReduceMin: of exact integers, then onnxruntime's float32 steps."""
    op = unit.op
    x, y = unit.inputs[0], unit.output
    axes, given = _axes(unit)
    same = not axes and bool(op.attributes.get("noop_with_empty_axes", 0))
    if not axes:
        axes = tuple(range(len(x.shape)))
    problem = "noop_with_empty_axes" if same and op.op_type == "ReduceL2" else ""
    count = reduced_elements(x.shape, axes)
    facts = Facts(
        op.op_type,
        [x, y],
        [given],
        dimension_groups=len(runs(x.shape, axes)),
        reduced=count,
        reference=real_numbers(unit),
        attribute=problem,
    )
    low.check(rules.REDUCE, facts)
    if same:
        table(low, x, y, lambda v: v, unit)
        return
    kind = _REDUCTIONS.get(op.op_type, Reduction.SUM)
    _real(low, unit, axes, reduction=kind, divisor=float(count) if op.op_type == "ReduceMean" else 1.0)


@rules.requires(rules.REDUCE)
def global_average_pool(low: Lowering, unit: Unit) -> None:
    """By the rule of QLinearGlobalAveragePool; as a ReduceMean where onnxruntime does not fuse it."""
    x, y = unit.inputs[0], unit.output
    axes = tuple(range(2, len(x.shape)))
    count = reduced_elements(x.shape, axes)
    problem = "channels_last" if unit.op.attributes.get("channels_last", 0) else ""
    low.check(rules.REDUCE, Facts(unit.op.op_type, [x, y], [], reduced=count, attribute=problem))
    mean(low, unit)


def mean(low: Lowering, unit: Unit) -> None:
    """Over all spatial dimensions."""
    x, y = unit.inputs[0], unit.output
    axes = tuple(range(2, len(x.shape)))
    if not is_fused(low, unit) or not axes:
        _real(low, unit, axes, divisor=float(reduced_elements(x.shape, axes)))
        return
    x = low.spatial(x)
    (s_x, z_x), (s_y, z_y) = low.quantization(x), low.quantization(y)
    lo, hi = bounds(low, unit, y)
    scale = float(f32(s_x / f32(s_y * f32(x.shape[2] * x.shape[3]))))
    more = {"clamp_min": lo, "clamp_max": hi}
    _reduce(low, x, y, (2, 3), input_zero_point=z_x, scale=scale, output_offset=z_y, **more)


def _real(low: Lowering, unit: Unit, axes: tuple[int, ...], **attributes: float) -> None:
    """Dequantised, reduced, quantised."""
    x, y = unit.inputs[0], unit.output
    (s_x, z_x), (s_y, z_y) = low.quantization(x), low.quantization(y)
    lo, hi = bounds(low, unit, y)
    attributes |= {"scale": float(s_x), "output_scale": float(s_y), "clamp_min": lo, "clamp_max": hi}
    _reduce(low, x, y, axes, input_zero_point=z_x, output_offset=z_y, **attributes)


def _reduce(low: Lowering, x: Tensor, y: Tensor, axes: tuple[int, ...], **attributes: float) -> None:
    """In the layout that is at hand; what is kept is brought to the source's order where the two differ."""
    if len(x.shape) != 4 or not low.has_image(x):
        reduce(low, low.plain(x), axes, low.result(y), **attributes)
        return
    kept = tuple(
        1 if i in axes else d for i, d in enumerate(x.shape)
    )  # the output with all dimensions, as NCHW
    target = tuple(kept[i] for i in NCHW_TO_NHWC)
    inner = [NHWC_AXIS[a] for a in axes]
    if y.shape == kept:
        reduce(low, low.image(x), inner, low.result(y, image=True), **attributes)
        return
    moved = [i for i in NHWC_TO_NCHW if target[i] > 1]
    if moved == sorted(moved):
        reduce(low, low.image(x), inner, low.result(y), **attributes)
        return
    out = Tensor(y.name, target, "int8", y.quantization)
    reduce(low, low.image(x), inner, out, **attributes)
    permuted = low.emit("npu.transpose", [out], y.name, kept, y.quantization, perm=NHWC_TO_NCHW)
    low.emit_to("npu.reshape", [permuted], low.result(y))


@rules.requires(rules.BINARY)
def total(low: Lowering, unit: Unit) -> None:
    """Sum and Mean of n tensors: onnxruntime's float32 operators one by one."""
    inputs, y = unit.inputs, unit.output
    if len(inputs) == 2:
        add(low, unit)
        return
    rank = len(y.shape)
    several = rank > rules.MAX_RANK and any(t.shape != y.shape for t in inputs)
    problem = f"{len(inputs)} inputs of several shapes, of {rank} dimensions" if several else ""
    kind = unit.op.op_type
    low.check(rules.BINARY, Facts(kind, [*inputs, y], [], reference=real_numbers(unit), attribute=problem))
    if len(inputs) == 1:
        table(low, inputs[0], y, lambda v: v, unit)
        return
    (s_y, z_y), (lo, hi) = low.quantization(y), bounds(low, unit, y)
    image = layout(low, y, *inputs)
    target = low.result(y, image=image)
    columns = target.shape[-1] if rank else 1
    rows = y.size // columns
    parts = []
    for t in inputs:
        form = low.image(t) if image else low.plain(t)
        part = moves.reshaped(low, _stretched(low, form, target.shape), (1, rows, columns))
        parts.append(part)
    stacked = low.emit("npu.concat", parts, y.name, (len(parts), rows, columns), None, axis=0)
    quantizations = [low.quantization(t) for t in inputs]
    constants = [
        low.constant(f"{y.name}/scale", np.array([s for s, _ in quantizations], np.float32)),
        low.constant(f"{y.name}/zero_point", np.array([z for _, z in quantizations], np.int32)),
    ]
    out = low.emit(
        "npu.sum",
        [stacked, *constants],
        y.name,
        (rows, columns),
        y.quantization,
        divisor=float(len(inputs)) if kind == "Mean" else 1.0,
        output_scale=float(s_y),
        output_zero_point=z_y,
        clamp_min=lo,
        clamp_max=hi,
    )
    low.emit_to("npu.reshape", [out], target)


def _stretched(low: Lowering, form: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Repeats dimensions of one element up to a shape."""
    if form.shape == shape:
        return form
    own = (1,) * (len(shape) - len(form.shape)) + form.shape
    taken = [repeated(d, e // d) for d, e in zip(own, shape)]
    out = Tensor(form.name, shape, "int8", form.quantization)
    moves.take(low, moves.reshaped(low, form, own), taken, out)
    return out


@rules.requires(rules.LP_NORMALIZATION)
def lp_normalization(low: Lowering, unit: Unit) -> None:
    """x over its norm along an axis; the input's scale cancels."""
    op = unit.op
    x, y = unit.inputs[0], unit.output
    rank = len(x.shape)
    axis = int(op.attributes.get("axis", -1)) % max(rank, 1)
    facts = Facts(
        op.op_type,
        [x, y],
        [],
        batch=x.shape[0] if rank > 1 else 1,
        norm=int(op.attributes.get("p", 2)),
        reduced=x.shape[axis] if rank else 1,
    )
    low.check(rules.LP_NORMALIZATION, facts)
    (_, z_x), (s_y, z_y) = low.quantization(x), low.quantization(y)
    lo, hi = bounds(low, unit, y)
    image = layout(low, y, x)
    at = NHWC_AXIS[axis] if image else axis
    along(
        low,
        "npu.l2_normalize",
        low.image(x) if image else low.plain(x),
        (at, at + 1),
        [],
        low.result(y, image=image),
        input_zero_point=z_x,
        output_scale=float(s_y),
        output_zero_point=z_y,
        clamp_min=lo,
        clamp_max=hi,
        rounding=Rounding.QDQ,
    )


@rules.requires(rules.SOFTMAX)
def softmax(low: Lowering, unit: Unit) -> None:
    """By QLinearSoftmax: along one axis; before opset 13 along all dimensions from the axis on."""
    op = unit.op
    x, y = unit.inputs[0], unit.output
    rank = len(x.shape)
    opset = op.attributes.get("opset", low.graph.source.opsets.get("", 13))
    axis = int(op.attributes.get("axis", -1 if opset >= 13 else 1)) % max(rank, 1)
    end = min(axis + 1, rank) if opset >= 13 else rank
    classes = reduced_elements(x.shape, range(axis, end))
    reference = ""
    if {x.dtype, y.dtype} == set(EIGHT_BIT):
        reference = f"{x.dtype} to {y.dtype}, which onnxruntime computes in float32"
    elif (
        {x.dtype, y.dtype} < set(EIGHT_BIT) and x.quantization and y.quantization and not is_fused(low, unit)
    ):
        what = "an activation" if unit.activation is not None else "several QuantizeLinear"
        if unit.moves:
            what = f"a {unit.moves[0].op.op_type}"
        reference = f"{what} after it, with which onnxruntime computes it in float32"
    batch = x.shape[0] if rank > 1 else 1
    facts = Facts(op.op_type, [x, y], [], batch=batch, reduced=classes, reference=reference)
    low.check(rules.SOFTMAX, facts)
    s_x, (s_y, z_y) = low.quantization(x)[0], low.quantization(y)
    largest = f32(f32(np.finfo(np.float32).max) / f32(classes))
    shift = max(0.0, float(f32(f32(math.log(float(largest))) - f32(5)))) / float(s_x)
    exponentials = np.array([math.exp((shift - d) * float(s_x)) for d in range(256)]).astype(np.float32)
    image = layout(low, y, x) and end == axis + 1
    along(
        low,
        "npu.softmax",
        low.image(x) if image else low.plain(x),
        (NHWC_AXIS[axis], NHWC_AXIS[axis] + 1) if image else (axis, end),
        [low.constant(f"{y.name}/table", exponentials)],
        low.result(y, image=image),
        output_offset=z_y,
        factor=float(math.floor(f32(f32(1) / s_y))),
        rounding=Rounding.ONNXRUNTIME,
    )
