"""MAX_POOL2D and AVERAGE_POOL2D on int8 [N, H, W, C]."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from furiosa.enf.isa import Rounding

f32 = np.float32


def _taps(
    x: np.ndarray,
    out: np.ndarray,
    kernel: tuple[int, int],
    stride: tuple[int, int],
    pad: tuple[int, int],
    dilation: tuple[int, int] = (1, 1),
) -> Iterator[tuple[tuple[slice, ...], np.ndarray]]:
    """For each tap of the window, row by row: the outputs that it reaches and the inputs that they see there."""
    for i in range(kernel[0]):
        rows = _reach(i * dilation[0] - pad[0], stride[0], out.shape[1], x.shape[1])
        for j in range(kernel[1]):
            columns = _reach(j * dilation[1] - pad[1], stride[1], out.shape[2], x.shape[2])
            if rows and columns:
                yield (slice(None), rows[0], columns[0]), x[:, rows[1], columns[1]]


def _reach(offset: int, stride: int, outputs: int, inputs: int) -> tuple[slice, slice] | None:
    first = max(0, -(offset // stride))
    last = min(outputs - 1, (inputs - 1 - offset) // stride)
    if first > last:
        return None
    start = first * stride + offset
    return slice(first, last + 1), slice(start, start + (last - first) * stride + 1, stride)


def max_pool2d(
    input: np.ndarray,
    output: np.ndarray,
    *,
    stride_h: int,
    stride_w: int,
    pad_top: int,
    pad_left: int,
    dilation_h: int,
    dilation_w: int,
    kernel_h: int,
    kernel_w: int,
    clamp_min: int,
    clamp_max: int,
) -> None:
    """Maximum over the window; padding never wins."""
    output[...] = -128
    kernel, stride, pad = (kernel_h, kernel_w), (stride_h, stride_w), (pad_top, pad_left)
    for where, values in _taps(input, output, kernel, stride, pad, (dilation_h, dilation_w)):
        target = output[where]
        np.maximum(target, values, out=target)
    if (clamp_min, clamp_max) != (-128, 127):
        np.clip(output, clamp_min, clamp_max, out=output)


def average_pool2d(
    input: np.ndarray,
    output: np.ndarray,
    *,
    stride_h: int,
    stride_w: int,
    pad_top: int,
    pad_left: int,
    kernel_h: int,
    kernel_w: int,
    clamp_min: int,
    clamp_max: int,
    input_zero_point: int,
    input_scale: float,
    output_scale: float,
    float_zero_point: int,
    output_offset: int,
    count_padding: int,
    rounding: int,
) -> None:
    """Mean over the window, in the arithmetic of the runtime that ``rounding`` names."""
    kernel, stride, pad = (kernel_h, kernel_w), (stride_h, stride_w), (pad_top, pad_left)
    count = np.zeros((1, *output.shape[1:3], 1), np.int32)
    if rounding == Rounding.ONNXRUNTIME:
        total = np.zeros(output.shape, f32)
        for where, values in _taps(input, output, kernel, stride, pad):
            total[where] += (values.astype(f32) - f32(input_zero_point)) * f32(input_scale)
            count[where] += 1
        total /= f32(kernel_h * kernel_w) if count_padding else np.maximum(count, 1).astype(f32)
        total /= f32(output_scale)
        total += f32(float_zero_point)
        y = np.rint(total) + f32(output_offset)
    else:
        total = np.zeros(output.shape, np.int32)
        for where, values in _taps(input, output, kernel, stride, pad):
            total[where] += values
            count[where] += 1
        n = np.maximum(count, 1)
        if rounding == Rounding.TFLITE_UINT8:
            y = (total + n // 2) // n
        else:
            y = np.sign(total) * ((np.abs(total) + n // 2) // n)
    np.copyto(output, np.clip(y, clamp_min, clamp_max), casting="unsafe")
