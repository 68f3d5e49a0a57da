"""A matrix product as a 1x1 convolution over [1, 1, rows, depth]."""

from __future__ import annotations

from furiosa.compiler.dfg.graph import Tensor
from furiosa.compiler.ldfg.lowering import Lowering


def matmul(
    low: Lowering, x: Tensor, rows: int, parameters: list[Tensor], y: Tensor, **attributes: int
) -> None:
    """Emits y[rows, channels] = x[rows, depth] * weight as a 1x1 convolution, with the reshapes around it."""
    channels, _, _, depth = parameters[0].shape
    shaped = low.emit("npu.reshape", [x], x.name, (1, 1, rows, depth), x.quantization)
    out = low.emit(
        "npu.conv2d",
        [shaped, *parameters],
        y.name,
        (1, 1, rows, channels),
        y.quantization,
        **attributes,
        stride_h=1,
        stride_w=1,
        pad_top=0,
        pad_left=0,
        dilation_h=1,
        dilation_w=1,
        groups=1,
    )
    low.emit_to("npu.reshape", [out], y)
