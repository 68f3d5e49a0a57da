"""Pooling over windows and over axes. Tensors are NHWC, int8 or uint8; a window counts only its elements inside the image."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tests.reference.rounding import f32, rint, saturate


def over_windows(
    x: np.ndarray,
    reduce: Callable[[np.ndarray], np.ndarray],
    out_shape: tuple[int, int],
    kernel: tuple[int, int],
    stride: tuple[int, int],
    pad: tuple[int, int],
) -> np.ndarray:
    """Applies `reduce` to the int64 [N,count,C] elements of each window; pad = (top, left); result int64 [N,OH,OW,C]."""
    out = np.zeros((x.shape[0], *out_shape, x.shape[3]), np.int64)
    for row in range(out_shape[0]):
        for col in range(out_shape[1]):
            top, left = row * stride[0] - pad[0], col * stride[1] - pad[1]
            window = x[:, max(top, 0) : top + kernel[0], max(left, 0) : left + kernel[1]].astype(np.int64)
            out[:, row, col] = reduce(window.reshape(len(x), -1, x.shape[3]))
    return out


def max_pool(x: np.ndarray, out_shape, kernel, stride, pad=(0, 0), bounds=None) -> np.ndarray:
    """MAX_POOL_2D (XNNPACK and builtin) and MaxPool (onnxruntime): the largest element, clamped."""
    return saturate(over_windows(x, lambda w: w.max(1), out_shape, kernel, stride, pad), str(x.dtype), bounds)


def average_pool_builtin(x: np.ndarray, out_shape, kernel, stride, pad=(0, 0), bounds=None) -> np.ndarray:
    """AVERAGE_POOL_2D of TFLite (builtin kernel): the raw sum over the count, ties away from zero.

    Scale and zero point of input and output are equal, so they do not enter.
    """
    return saturate(over_windows(x, _divide_half_away, out_shape, kernel, stride, pad), str(x.dtype), bounds)


def _divide_half_away(window: np.ndarray) -> np.ndarray:
    total, count = window.sum(1), window.shape[1]
    return np.where(total > 0, (total + count // 2) // count, -((count // 2 - total) // count))


def mean_xnnpack(
    x, axes: tuple[int, ...], keep_dims: bool, x_scale, x_zero_point, y_scale, y_zero_point
) -> np.ndarray:
    """MEAN of TFLite: one float32 multiply-add of the raw sum, the zero points being part of the addend. Equals XNNPACK.

    m = float32(1/n) * float32(sx/sy); b = zy - float32(n*zx) * m; y = rint(float32(sum) * m + b), every step in float32.
    """
    count = int(np.prod([x.shape[axis] for axis in axes]))
    multiplier = f32(1) / f32(count) * (f32(x_scale) / f32(y_scale))
    addend = f32(y_zero_point) - f32(count * x_zero_point) * multiplier
    total = x.astype(np.int64).sum(axis=axes, keepdims=keep_dims)
    return saturate(rint(total.astype(f32) * multiplier + addend), str(x.dtype))


def global_average_pool_onnxruntime(x, x_scale, x_zero_point, y_scale, y_zero_point) -> np.ndarray:
    """QLinearGlobalAveragePool over H and W of [N,H,W,C]: rint(float32(sum(A)) * m) + zy, m = float32(sx / float32(sy * n))."""
    count = x.shape[1] * x.shape[2]
    multiplier = f32(x_scale) / (f32(y_scale) * f32(count))
    total = (x.astype(np.int64) - x_zero_point).sum(axis=(1, 2), keepdims=True)
    return saturate(rint(total.astype(f32) * multiplier) + y_zero_point, str(x.dtype))


def average_pool_onnxruntime(
    x, out_shape, kernel, stride, pad, count_include_pad: bool, x_scale, x_zero_point, y_scale, y_zero_point
) -> np.ndarray:
    """QLinearAveragePool: the dequantised window summed in float32, row by row, from the top left.

    v = float32(sum / n), n being kernel_h*kernel_w if count_include_pad, else the elements inside the image;
    y = rint(float32(v / sy) + float32(zy)).
    """

    def mean(window: np.ndarray) -> np.ndarray:
        real = (window - x_zero_point).astype(f32) * f32(x_scale)
        total = np.zeros((real.shape[0], real.shape[2]), f32)
        for element in range(real.shape[1]):
            total = total + real[:, element]
        count = kernel[0] * kernel[1] if count_include_pad else real.shape[1]
        return rint(total / f32(count) / f32(y_scale) + f32(y_zero_point))

    return saturate(over_windows(x, mean, out_shape, kernel, stride, pad), str(x.dtype))
