"""MaxPool, AveragePool, GlobalAveragePool and ReduceMean."""

from __future__ import annotations

from furiosa.compiler.dfg.graph import Tensor
from furiosa.compiler.ldfg import rules
from furiosa.compiler.ldfg.arithmetic import f32
from furiosa.compiler.ldfg.lowering import NCHW_TO_NHWC, Facts, Lowering
from furiosa.compiler.ldfg.onnx.common import (
    bounds,
    pair,
    requantization,
    window,
    window_problem,
    without_dilation,
)
from furiosa.compiler.ldfg.onnx.units import Unit
from furiosa.enf.isa import Rounding


@rules.requires(rules.POOL)
def max_pool(low: Lowering, unit: Unit) -> None:
    op = unit.op
    x, y = unit.inputs[0], unit.output
    kernel = op.attributes["kernel_shape"]
    problem = window_problem(op, x, y, kernel, pool=True)
    if len(op.outputs) > 1:  # storage_order is about this one
        problem = "the indices output"
    low.check(rules.POOL, Facts(op.op_type, [x, y], [], spatial_rank=len(kernel), attribute=problem))
    x, y, kernel = low.spatial(x), low.spatial_result(y), pair(kernel)
    same = low.quantization(x) == low.quantization(y) and x.dtype == y.dtype
    lo, hi = bounds(low, unit, y) if same else (-128, 127)
    image = low.image(x)
    shape = tuple(y.shape[i] for i in NCHW_TO_NHWC)
    target = low.result(y, image=True) if same else Tensor(y.name, shape, "int8", x.quantization)
    low.emit_to(
        "npu.max_pool2d",
        [image],
        target,
        **window(op, x, y, kernel),
        kernel_h=kernel[0],
        kernel_w=kernel[1],
        clamp_min=lo,
        clamp_max=hi,
    )
    if not same:  # rounding is monotone: the maximum of quantised values is the quantised maximum
        lookup = low.table(y.name, requantization(low, x, y, unit))
        low.emit_to("npu.table_lookup", [target, lookup], low.result(y, image=True))


@rules.requires(rules.POOL)
def average_pool(low: Lowering, unit: Unit) -> None:
    """In float32, as onnxruntime; where the window is the whole input, as GlobalAveragePool, which is what runs there too."""
    op = unit.op
    x, y = unit.inputs[0], unit.output
    kernel = op.attributes["kernel_shape"]
    problem = window_problem(op, x, y, kernel, pool=True)
    if any(d != 1 for d in op.attributes.get("dilations") or [1]):
        problem = "dilations"
    low.check(rules.POOL, Facts(op.op_type, [x, y], [], spatial_rank=len(kernel), attribute=problem))
    whole = tuple(kernel) == x.shape[2:] and all(d == 1 for d in y.shape[2:])
    if whole and not any(op.attributes.get("pads") or ()):
        _mean(low, unit, low.spatial(x), y)
        return
    x, y, kernel = low.spatial(x), low.spatial_result(y), pair(kernel)
    (s_x, z_x), (s_y, z_y) = low.quantization(x), low.quantization(y)
    lo, hi = bounds(low, unit, y)
    raw = 128 if y.dtype == "uint8" else 0
    low.emit_to(
        "npu.average_pool2d",
        [low.image(x)],
        low.result(y, image=True),
        **without_dilation(window(op, x, y, kernel)),
        kernel_h=kernel[0],
        kernel_w=kernel[1],
        clamp_min=lo,
        clamp_max=hi,
        input_zero_point=z_x,
        input_scale=float(s_x),
        output_scale=float(s_y),
        float_zero_point=z_y + raw,
        output_offset=-raw,
        count_padding=int(op.attributes.get("count_include_pad", 0)),
        rounding=Rounding.ONNXRUNTIME,
    )


@rules.requires(rules.MEAN)
def global_average_pool(low: Lowering, unit: Unit) -> None:
    """GlobalAveragePool, and ReduceMean over H and W by the same rule."""
    op = unit.op
    x, y = unit.inputs[0], unit.output
    axes: tuple[int, ...] = (1, 2)
    given = unit.inputs[1] if len(unit.inputs) > 1 else None
    if op.op_type == "ReduceMean":
        stated = op.attributes.get("axes") or ()
        if given is not None and given.is_constant:
            stated = given.data.reshape(-1)
        axes = (
            tuple(sorted({2: 1, 3: 2}.get(int(a) % len(x.shape), 0) for a in stated))
            if len(x.shape) == 4
            else ()
        )
    low.check(rules.MEAN, Facts(op.op_type, [x, y], [given], axes=axes, spatial_rank=len(x.shape) - 2))
    _mean(low, unit, low.spatial(x), y)


def _mean(low: Lowering, unit: Unit, x: Tensor, y: Tensor) -> None:
    """Over height and width of x [N, C, H, W], by the rule of QLinearGlobalAveragePool."""
    (s_x, z_x), (s_y, z_y) = low.quantization(x), low.quantization(y)
    lo, hi = bounds(low, unit, y)
    n, c, h, w = x.shape
    pooled = low.emit(
        "npu.reduce_mean",
        [low.image(x)],
        y.name,
        (n, 1, 1, c),
        y.quantization,
        sum_offset=-h * w * z_x,
        scale=float(f32(s_x / f32(s_y * f32(h * w)))),
        bias=0.0,
        output_offset=z_y,
        clamp_min=lo,
        clamp_max=hi,
    )
    low.emit_to("npu.reshape", [pooled], low.result(y))
