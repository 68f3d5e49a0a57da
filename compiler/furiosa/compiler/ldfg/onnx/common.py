"""What several ONNX lowerings share: windows, the clamp of an activation, tables, layouts."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from furiosa.compiler.dfg.graph import Operator, Tensor
from furiosa.compiler.ldfg.arithmetic import clamp, f32
from furiosa.compiler.ldfg.lowering import Lowering
from furiosa.compiler.ldfg.onnx.units import Unit


def table(
    low: Lowering, x: Tensor, y: Tensor, function: Callable[[float], float], unit: Unit | None = None
) -> None:
    """y = quantize(function(dequantize(x))), in float32 with the function in float64, as 256 values."""
    (s_x, z_x), (s_y, z_y) = low.quantization(x), low.quantization(y)
    lo, hi = bounds(low, unit, y) if unit is not None else (-128, 127)

    def value(q: int) -> int:
        real = f32(function(float(f32(f32(q - z_x) * s_x))))
        return clamp(np.rint(f32(real / s_y)) + z_y, lo, hi)

    low.requantize(x, y, value, image=low.has_image(x) and len(x.shape) == 4)


def limits(op: Operator) -> tuple[float, float]:
    """The real range of a Relu or Clip."""
    if op.op_type == "Relu":
        return 0.0, math.inf
    low, high = op.attributes.get("min", -math.inf), op.attributes.get("max", math.inf)
    for i, t in enumerate(op.inputs[1:3]):
        if t is not None and t.is_constant:
            value = float(t.data.reshape(-1)[0])
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


def layout(low: Lowering, y: Tensor, *inputs: Tensor) -> bool:
    """Whether to compute in the channels-last form: all have four dimensions and one is at hand in that form."""
    return all(len(t.shape) == 4 for t in (y, *inputs)) and any(
        low.has_image(t) and not t.is_constant for t in inputs
    )


def _pads(
    op: Operator, x: Tensor, y: Tensor, kernel: list[int], stride: list[int], dilation: list[int]
) -> list[int]:
    """Padding before the input, by dimension."""
    auto = op.attributes.get("auto_pad", "NOTSET")
    if auto in ("SAME_UPPER", "SAME_LOWER"):
        out = []
        for i in range(len(kernel)):
            total = (y.shape[2 + i] - 1) * stride[i] + (kernel[i] - 1) * dilation[i] + 1 - x.shape[2 + i]
            out.append((max(total, 0) + (auto == "SAME_LOWER")) // 2)
        return out
    if auto == "VALID":
        return [0] * len(kernel)
    pads = op.attributes.get("pads") or [0] * (2 * len(kernel))
    return list(pads[: len(kernel)])


def window(op: Operator, x: Tensor, y: Tensor, kernel: list[int]) -> dict[str, int]:
    rank = len(kernel)
    stride = op.attributes.get("strides") or [1] * rank
    dilation = op.attributes.get("dilations") or [1] * rank
    pads = _pads(op, x, y, kernel, stride, dilation)
    out = {"stride_h": stride[0], "stride_w": stride[1], "pad_top": pads[0], "pad_left": pads[1]}
    return out | {"dilation_h": dilation[0], "dilation_w": dilation[1]}


def without_dilation(attributes: dict[str, int]) -> dict[str, int]:
    return {k: v for k, v in attributes.items() if not k.startswith("dilation")}


def pad_problem(op: Operator, kernel: list[int]) -> str:
    pads = op.attributes.get("pads") or []
    dilation = op.attributes.get("dilations") or [1] * len(kernel)
    if any(p < 0 for p in pads):
        return "negative padding"
    if any(p > (k - 1) * d for p, k, d in zip(pads, [*kernel, *kernel], [*dilation, *dilation])):
        return "padding as wide as the window"
    return ""
