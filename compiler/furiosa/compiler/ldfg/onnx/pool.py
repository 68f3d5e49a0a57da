"""MaxPool, GlobalMaxPool and AveragePool."""

from __future__ import annotations

from furiosa.compiler.dfg.graph import Tensor
from furiosa.compiler.ldfg import rules
from furiosa.compiler.ldfg.lowering import NCHW_TO_NHWC, Facts, Lowering
from furiosa.compiler.ldfg.onnx.common import (
    bounds,
    is_fused,
    pair,
    requantization,
    window,
    window_problem,
    without_dilation,
)
from furiosa.compiler.ldfg.onnx.reduce import mean
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
    _maximum(low, unit, x, y, kernel, window(op, x, y, kernel))


@rules.requires(rules.POOL)
def global_max_pool(low: Lowering, unit: Unit) -> None:
    """MaxPool over the whole input."""
    x, y = unit.inputs[0], unit.output
    low.check(rules.POOL, Facts(unit.op.op_type, [x, y], [], spatial_rank=len(x.shape) - 2))
    x, y = low.spatial(x), low.spatial_result(y)
    steps = {"stride_h": 1, "stride_w": 1, "dilation_h": 1, "dilation_w": 1, "pad_top": 0, "pad_left": 0}
    _maximum(low, unit, x, y, x.shape[2:], steps)


def _maximum(
    low: Lowering, unit: Unit, x: Tensor, y: Tensor, kernel: tuple[int, ...], steps: dict[str, int]
) -> None:
    """Of the values; rounding is monotone: the maximum of quantised values is the quantised maximum."""
    same = low.quantization(x) == low.quantization(y) and x.dtype == y.dtype
    lo, hi = bounds(low, unit, y) if same else (-128, 127)
    image = low.image(x)
    shape = tuple(y.shape[i] for i in NCHW_TO_NHWC)
    target = low.result(y, image=True) if same else Tensor(y.name, shape, "int8", x.quantization)
    sizes = {"kernel_h": kernel[0], "kernel_w": kernel[1], "clamp_min": lo, "clamp_max": hi}
    low.emit_to("npu.max_pool2d", [image], target, **steps, **sizes)
    if not same:
        lookup = low.table(y.name, requantization(low, x, y, unit))
        low.emit_to("npu.table_lookup", [target, lookup], low.result(y, image=True))


@rules.requires(rules.POOL)
def average_pool(low: Lowering, unit: Unit) -> None:
    """In float32, as onnxruntime; where the window is the whole input, as GlobalAveragePool, which is what runs there too.

    Its integer operator adds the zero point before it rounds, QuantizeLinear after.  Where it has none for the unit, the order of its sums
    depends on the channels and the processor: a result may differ by one.
    """
    op = unit.op
    x, y = unit.inputs[0], unit.output
    kernel = op.attributes["kernel_shape"]
    problem = window_problem(op, x, y, kernel, pool=True)
    if any(d != 1 for d in op.attributes.get("dilations") or [1]):
        problem = "dilations"
    low.check(rules.POOL, Facts(op.op_type, [x, y], [], spatial_rank=len(kernel), attribute=problem))
    whole = tuple(kernel) == x.shape[2:] and all(d == 1 for d in y.shape[2:])
    if whole and not any(op.attributes.get("pads") or ()):
        mean(low, unit)
        return
    x, y, kernel = low.spatial(x), low.spatial_result(y), pair(kernel)
    (s_x, z_x), (s_y, z_y) = low.quantization(x), low.quantization(y)
    lo, hi = bounds(low, unit, y)
    raw = 128 if y.dtype == "uint8" else 0
    added = z_y + raw if is_fused(low, unit) else 0  # before rounding
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
        float_zero_point=added,
        output_offset=z_y - added,
        count_padding=int(op.attributes.get("count_include_pad", 0)),
        rounding=Rounding.ONNXRUNTIME,
    )
