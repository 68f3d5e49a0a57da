"""What several ONNX lowerings share: windows, the clamp of an activation, tables, layouts."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from furiosa.compiler.dfg.graph import Operator, Tensor
from furiosa.compiler.ldfg import arithmetic
from furiosa.compiler.ldfg.arithmetic import clamp, f32
from furiosa.compiler.ldfg.lowering import NCHW_TO_NHWC, Lowering
from furiosa.compiler.ldfg.onnx import units
from furiosa.compiler.ldfg.onnx.units import DEQUANTIZE, EIGHT_BIT, QUANTIZE, Unit


def table(
    low: Lowering, x: Tensor, y: Tensor, function: Callable[[float], float], unit: Unit | None = None
) -> None:
    """y = quantize(function(dequantize(x))), in float32 with the function in float64, as 256 values."""
    real = np.array([function(v) for v in arithmetic.real_values(*low.quantization(x)).tolist()], np.float64)
    with np.errstate(over="ignore"):
        real = real.astype(f32)
    lookup(low, x, y, real[None], unit, image=low.has_image(x) and len(x.shape) == 4)


def lookup(low: Lowering, x: Tensor, y: Tensor, real: np.ndarray, unit: Unit | None, *, image: bool) -> None:
    """y = quantize(real[x]); ``real`` is float32 [1, 256], or [C, 256] with the channels last in the form asked for.

    QuantizeLinear makes a NaN the lowest value.
    """
    s_y, z_y = low.quantization(y)
    lo, hi = bounds(low, unit, y) if unit is not None else (-128, 127)
    with np.errstate(over="ignore"):
        steps = np.rint(real / s_y)
    values = np.clip(np.where(np.isnan(steps), -np.inf, steps) + z_y, lo, hi)
    entries = low.constant(f"{y.name}/table", arithmetic.tables(values))
    form = low.image(x) if image else low.plain(x)
    low.emit_to("npu.table_lookup", [form, entries], low.result(y, image=image))


def real_constant(t: Tensor | None) -> np.ndarray | None:
    """The float32 values of a constant, which may be quantised, a bias in int32; None for anything else."""
    if t is None or not t.is_constant:
        return None
    if t.dtype == "float32":
        return t.data
    q = t.quantization
    if t.dtype not in (*EIGHT_BIT, "int32") or q is None:
        return None
    scale, zero_point = q.scale[:1], q.zero_point[:1]
    if q.axis is not None:
        if t.shape[q.axis : q.axis + 1] != q.scale.shape or q.zero_point.shape != q.scale.shape:
            return None
        along = [-1 if i == q.axis else 1 for i in range(len(t.shape))]
        scale, zero_point = q.scale.reshape(along), q.zero_point.reshape(along)
    return (t.data.astype(np.int32) - zero_point).astype(f32) * scale.astype(f32)


def limits(op: Operator, inputs: list[Tensor | None] | None = None) -> tuple[float, float]:
    """The real range of a Relu or Clip; ``inputs`` are those of its unit where it is an operator of its own."""
    if op.op_type == "Relu":
        return 0.0, math.inf
    low, high = op.attributes.get("min", -math.inf), op.attributes.get("max", math.inf)
    for i, t in enumerate((inputs or op.inputs)[1:3]):
        data = real_constant(t)
        if data is not None:
            value = float(data.reshape(-1)[0])
            low, high = (value, high) if i == 0 else (low, value)
    return low, high


def bounds(low: Lowering, unit: Unit, y: Tensor) -> tuple[int, int]:
    """Quantisation is monotone: to clamp the real number is to clamp its quantised value to the quantised bounds."""
    if unit.activation is None:
        return -128, 127
    scale, zero_point = low.quantization(y)

    def bound(v: float, end: int) -> int:
        return end if math.isinf(v) else clamp(np.rint(f32(f32(v) / scale)) + zero_point)

    real_low, real_high = limits(unit.activation)
    lo, hi = bound(real_low, -128), bound(real_high, 127)
    return min(lo, hi), hi


def is_fused(low: Lowering, unit: Unit) -> bool:
    """Whether onnxruntime makes one integer operator of a unit; where it does not, it computes on real numbers.

    One element type, one QuantizeLinear, and no activation but one that the range of the output implies; for a Clip, an Add and a
    Mul, scales that are scalars, not tensors of one element.
    """
    kind = unit.op.op_type
    if units.plain_type(unit.op) != kind:
        return True
    tensors = [t for t in (*unit.inputs, unit.output) if t is not None and t.dtype in EIGHT_BIT]
    if unit.apart or len({t.dtype for t in tensors}) > 1:
        return False
    conversions = [op for op in (*unit.dequantizes, *unit.operators) if op.op_type in (QUANTIZE, DEQUANTIZE)]
    if kind in ("Add", "Mul") and not all(op.inputs[1].shape == () for op in conversions):
        return False
    if unit.activation is None:
        return True
    if unit.activation.op_type == "Clip" and any(t.shape != () for t in unit.anchor.inputs[1:3]):
        return False
    return bounds(low, unit, unit.output) == (-128, 127)


def real_numbers(unit: Unit) -> str:
    """Why an operator on 8-bit tensors does not compute on the real numbers that they stand for; empty where it does."""
    integers = not unit.fused and unit.output.dtype in EIGHT_BIT
    return "an operator on the integers themselves" if integers else ""


def requantization(low: Lowering, x: Tensor, y: Tensor, unit: Unit) -> Callable[[int], int]:
    (s_x, z_x), (s_y, z_y) = low.quantization(x), low.quantization(y)
    lo, hi = bounds(low, unit, y)
    return lambda q: clamp(np.rint(f32(f32(f32(q - z_x) * s_x) / s_y)) + z_y, lo, hi)


def mismatch(low: Lowering, unit: Unit, x: Tensor, y: Tensor) -> str:
    """A moved value keeps its quantisation; empty where it does."""
    if x.quantization is None or y.quantization is None:
        return "" if x.quantization is y.quantization else "no quantisation"
    same = low.quantization(x) == low.quantization(y) and x.dtype == y.dtype and unit.activation is None
    return "" if same else "input and output with different scales"


def operands(low: Lowering, y: Tensor, inputs: Sequence[Tensor]) -> tuple[list[Tensor], bool]:
    """The forms of operands that broadcast to ``y``, and whether they are the channels-last ones."""
    given = [t for t in inputs if not t.is_constant]
    image = all(len(t.shape) == 4 for t in (y, *given)) and any(low.has_image(t) for t in given)
    return [_image(low, t) if image else low.plain(t) for t in inputs], image


def _image(low: Lowering, t: Tensor) -> Tensor:
    """The channels-last form; a constant may have fewer dimensions."""
    if len(t.shape) == 4:
        return low.image(t)
    data = low.plain(t).data
    data = data.reshape((1,) * (4 - data.ndim) + data.shape).transpose(NCHW_TO_NHWC)
    return low.constant(t.name, data, t.quantization)


def layout(low: Lowering, y: Tensor, *inputs: Tensor) -> bool:
    """Whether to compute in the channels-last form: all have four dimensions and one is at hand in that form."""
    return all(len(t.shape) == 4 for t in (y, *inputs)) and any(
        low.has_image(t) and not t.is_constant for t in inputs
    )


def pair(values: Sequence[int] | None, default: int = 1) -> tuple[int, int]:
    """What an attribute states for each spatial dimension; a single dimension is the width of an image of height 1."""
    given = tuple(values or ())
    return (*(default,) * (2 - len(given)), *given)


def _pads(
    op: Operator,
    x: Tensor,
    y: Tensor,
    kernel: tuple[int, int],
    stride: tuple[int, int],
    dilation: tuple[int, int],
) -> tuple[int, int]:
    """Padding before the input, by dimension."""
    auto = op.attributes.get("auto_pad", "NOTSET")
    if auto in ("SAME_UPPER", "SAME_LOWER"):
        out = []
        for i in range(len(kernel)):
            total = (y.shape[2 + i] - 1) * stride[i] + (kernel[i] - 1) * dilation[i] + 1 - x.shape[2 + i]
            out.append((max(total, 0) + (auto == "SAME_LOWER")) // 2)
        return tuple(out)
    pads = op.attributes.get("pads") or [] if auto != "VALID" else []
    return pair(pads[: len(pads) // 2], 0)


def window(op: Operator, x: Tensor, y: Tensor, kernel: tuple[int, int]) -> dict[str, int]:
    """The parameters of a window that slides over x [N, C, H, W] and gives y."""
    stride, dilation = pair(op.attributes.get("strides")), pair(op.attributes.get("dilations"))
    pads = _pads(op, x, y, kernel, stride, dilation)
    out = {"stride_h": stride[0], "stride_w": stride[1], "pad_top": pads[0], "pad_left": pads[1]}
    return out | {"dilation_h": dilation[0], "dilation_w": dilation[1]}


def without_dilation(attributes: dict[str, int]) -> dict[str, int]:
    return {k: v for k, v in attributes.items() if not k.startswith("dilation")}


_MAX_PADDED = 1 << 26  # elements of an image with wide padding


def is_wide(op: Operator, kernel: Sequence[int]) -> bool:
    """Whether there are windows wholly in the padding."""
    pads = op.attributes.get("pads") or []
    dilations = op.attributes.get("dilations") or [1] * len(kernel)
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilations)]
    stated = op.attributes.get("auto_pad", "NOTSET") == "NOTSET"
    return stated and any(p >= r for p, r in zip(pads, [*reach, *reach]))


def window_problem(op: Operator, x: Tensor, y: Tensor, kernel: Sequence[int], *, pool: bool = False) -> str:
    """Why the windows are not such that the NPU takes them; empty where they are.

    Each must touch the input; a convolution whose padding ``is_wide`` gets an operator for it.
    """
    rank = len(kernel)
    pads = op.attributes.get("pads") or [0] * (2 * rank)
    strides = op.attributes.get("strides") or [1] * rank
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, op.attributes.get("dilations") or [1] * rank)]
    auto = op.attributes.get("auto_pad", "NOTSET")
    if any(p < 0 for p in pads):
        return "negative padding"
    if is_wide(op, kernel):
        padded = math.prod((*x.shape[:2], *(d + a + b for d, a, b in zip(x.shape[2:], pads, pads[rank:]))))
        return "padding as wide as the window" if pool or padded > _MAX_PADDED else ""
    for i in range(rank if len(y.shape) == len(x.shape) == rank + 2 else 0):
        start = (y.shape[2 + i] - 1) * strides[i]
        if start >= x.shape[2 + i] + (pads[i] if auto == "NOTSET" else reach[i] - 1):
            return "a window that begins beyond the input"
        # onnxruntime's pools then begin within the input; its convolutions do not
        if pool and auto.startswith("SAME") and start + reach[i] <= x.shape[2 + i] - 2:
            return f"auto_pad {auto} with a stride far above the kernel's size"
    return ""
