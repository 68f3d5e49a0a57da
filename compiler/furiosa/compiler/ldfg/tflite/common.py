"""What several TFLite lowerings share: windows, fused activations, equal scales."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from furiosa.compiler.dfg.graph import Operator, Tensor
from furiosa.compiler.ldfg import rules
from furiosa.compiler.ldfg.arithmetic import f32
from furiosa.compiler.ldfg.lowering import Lowering

FUSED = ("NONE", "RELU", "RELU6", "RELU_N1_TO_1")


def bounds(
    low: Lowering, t: Tensor, activation: str, rule: Callable[..., tuple[int, int]]
) -> tuple[int, int]:
    """The clamp of a fused activation in the int8 form; the rule is applied to the tensor's own zero point."""
    scale = float(t.quantization.scale.reshape(-1)[0])
    zero_point = int(t.quantization.zero_point.reshape(-1)[0])
    offset = 128 if t.dtype == "uint8" else 0
    lo, hi = rule(activation, scale, zero_point, -128 + offset, 127 + offset)
    return lo - offset, hi - offset


def ordinary_scales(*tensors: Tensor) -> list[np.float32]:
    """The tensors' scales, or 1 where rules refuse the operator anyway."""
    if not all(t.quantization is not None and rules.ordinary(t.quantization.scale) for t in tensors):
        return [f32(1)] * len(tensors)
    return [f32(t.quantization.scale.reshape(-1)[0]) for t in tensors]


def activation(op: Operator) -> str:
    return op.attributes.get("fused_activation_function", "NONE")


def unsupported_activation(op: Operator) -> str:
    return "" if activation(op) in FUSED else f"fused activation {activation(op)}"


def _padding(op: Operator, size: int, out: int, kernel: int, stride: int, dilation: int) -> int:
    """Rows (or columns) of padding before the input."""
    if op.attributes.get("padding", "VALID") == "VALID":
        return 0
    return max((out - 1) * stride + (kernel - 1) * dilation + 1 - size, 0) // 2


def window(op: Operator, x: Tensor, y: Tensor, kernel: tuple[int, int]) -> dict[str, int]:
    a = op.attributes
    stride = (a["stride_h"], a["stride_w"])
    dilation = (a.get("dilation_h_factor", 1), a.get("dilation_w_factor", 1))
    pads = [_padding(op, x.shape[1 + i], y.shape[1 + i], kernel[i], stride[i], dilation[i]) for i in (0, 1)]
    out = {"stride_h": stride[0], "stride_w": stride[1], "pad_top": pads[0], "pad_left": pads[1]}
    if "dilation_h_factor" in a:
        out.update(dilation_h=dilation[0], dilation_w=dilation[1])
    return out


def same_quantization(low: Lowering, *tensors: Tensor) -> bool:
    first, *rest = tensors
    if any(t.quantization is None for t in tensors):
        return all(t.quantization is None for t in tensors)
    return all(low.quantization(t) == low.quantization(first) and t.dtype == first.dtype for t in rest)
