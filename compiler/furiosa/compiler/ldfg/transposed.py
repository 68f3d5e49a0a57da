"""The transposed convolution as ordinary ones: outputs ``stride`` apart see the same kernel taps, in a convolution of stride 1.

So there are stride_h * stride_w convolutions, each writing every stride-th row and column of the output; none multiplies by
zeros that were put between the input's pixels.  The kernel taps of each come in reverse order.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from furiosa.compiler.dfg.graph import Tensor
from furiosa.compiler.ldfg.lowering import Lowering

MAX_PHASES = 1 << 8  # convolutions that one operator may become


class Phase(NamedTuple):
    """Along one axis, the outputs start, start + stride, …: output t of them sees the input t - pad + j * dilation with taps[j].

    A tap of -1 has the weight 0: it only makes the window reach the input.
    """

    start: int
    taps: tuple[int, ...]
    dilation: int
    pad: int


def phases(size: int, out: int, kernel: int, stride: int, dilation: int, pad: int) -> list[Phase]:
    """The phases of one axis.  ``pad`` elements are cut off where the full output, input i and tap k at i*stride + k*dilation, begins.

    Every window touches the input, and no ``pad`` of a phase is negative.
    """
    found = []
    for start in range(min(stride, out)):
        count = -(-(out - start) // stride)
        taps = [k for k in range(kernel) if (start + pad - k * dilation) % stride == 0]
        step = dilation // math.gcd(stride, dilation) if taps else 1  # inputs between one tap and the next
        # output 0 sees, with the first of these taps, the input
        last = (start + pad - taps[0] * dilation) // stride if taps else 0
        reverse = taps[::-1] or [-1]
        while last < 0:  # further taps after the window, so that it does not end before the input
            reverse, last = [*reverse, -1], last + step
        first = last - (len(reverse) - 1) * step
        while first > 0 or first + count - 1 >= size:  # and before it, so that it begins within
            reverse, first = [-1, *reverse], first - step
        found.append(Phase(start, tuple(reverse), step, -first))
    return found


def emit(
    low: Lowering,
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    scale: Tensor,
    y: Tensor,
    geometry: tuple[list[Phase], list[Phase]],
    strides: tuple[int, int],
    **attributes: int,
) -> None:
    """Writes y [N, OH, OW, OC] from x [N, H, W, C].

    The weight has the order of CONV2D, [OC, KH, KW, C / groups], or of DEPTHWISE_CONV2D, [KH, KW, OC].
    """
    low.check_numbers("npu.conv_transpose2d", attributes)
    depthwise = len(weight.shape) == 3
    parts, windows = [], []
    for row in geometry[0]:
        for column in geometry[1]:
            axes = (0, 1) if depthwise else (1, 2)
            part = _taken(weight.data, row.taps, axes[0], attributes["weight_zero_point"])
            part = _taken(part, column.taps, axes[1], attributes["weight_zero_point"])
            name = f"{weight.name}/{row.start},{column.start}"
            parts.append(low.constant(name, np.ascontiguousarray(part), weight.quantization))
            windows.append((row.start, column.start, row.pad, column.pad, row.dilation, column.dilation))
    low.emit_to(
        "npu.conv_transpose2d",
        [x, bias, scale, *parts],
        y,
        **attributes,
        phase_stride=strides,
        windows=tuple(windows),
    )


def _taken(weight: np.ndarray, taps: tuple[int, ...], axis: int, zero: int) -> np.ndarray:
    """The weights of these taps; those of -1 are 0 in real numbers."""
    part = np.take(weight, [max(k, 0) for k in taps], axis)
    missing = [i for i, k in enumerate(taps) if k < 0]
    part[(slice(None),) * axis + (missing,)] = zero
    return part


def count(strides: tuple[int, int]) -> str:
    """Why the strides make too many convolutions; empty where they do not."""
    return "" if strides[0] * strides[1] <= MAX_PHASES else f"strides {list(strides)}"
