"""Reductions, means of several tensors and division by the norm.  All functions work on values of the tensor's own type."""

from __future__ import annotations

import numpy as np

from tests.reference.rounding import f32, multiply_by_quantized_multiplier, rint, saturate

Axes = tuple[int, ...]


def sum_xnnpack(x, axes: Axes, keep: bool, x_scale, x_zero_point, y_scale, y_zero_point, mean=False):
    """SUM and MEAN of LiteRT: rint(float32(S) * m + b), S the sum of n raw values, m = sx / sy, for a mean (1 / n) times that.

    b = float32(zy) - float32(n * zx) * m: both zero points are in the float32 sum that is rounded.
    """
    n = x.size // x.sum(axis=axes, keepdims=True).size
    m = f32(x_scale) / f32(y_scale)
    if mean:
        m = f32(1) / f32(n) * m
    bias = f32(y_zero_point) - f32(n * x_zero_point) * m
    total = x.astype(np.int64).sum(axis=axes, keepdims=keep)
    return np.asarray(saturate(rint(total.astype(f32) * m + bias), str(x.dtype)))


def reduce_onnx(kind: str, x, axes: Axes, keep: bool, x_scale, x_zero_point, y_scale, y_zero_point, dtype):
    """ReduceSum, ReduceMean, ReduceL2, ReduceMax, ReduceMin between quantised tensors, with the exact sum of the integers.

    v = float32(S) * sx, S = sum(x - zx); a mean divides by n; ReduceL2 has the square root of float32(sum((x - zx)**2)) for
    float32(S).  y = rint(v / sy) + zy.  onnxruntime sums real numbers, float32 products (x - zx) * sx, in an order that
    depends on the processor: equal where sx is a power of two and sums stay below 2**24, else at most one off where v / sy is
    close to a tie.  Of a million results each: 3 of ReduceSum, 1 of ReduceMean and 1 of ReduceL2 with arbitrary scales;
    13506, 18 and 44 where the output's scale is the input's times a power of two, so that ties abound.
    """
    d = x.astype(np.int64) - x_zero_point
    if kind == "ReduceL2":
        v = np.sqrt((d * d).sum(axis=axes, keepdims=keep).astype(f32))
    elif kind in ("ReduceMax", "ReduceMin"):
        v = np.asarray((d.max if kind == "ReduceMax" else d.min)(axis=axes, keepdims=keep)).astype(f32)
    else:
        v = d.sum(axis=axes, keepdims=keep).astype(f32)
    v = v * f32(x_scale)
    if kind == "ReduceMean":
        v = v / f32(d.size // max(v.size, 1))
    return np.asarray(saturate(rint(v / f32(y_scale)) + y_zero_point, dtype))


def sum_onnx(inputs, scales, zero_points, divisor, y_scale, y_zero_point, dtype):
    """Sum and Mean of n tensors: float32((x - z) * s) summed in order in float32, over 1 or n, then over sy."""
    total = f32(0)
    for x, scale, zero_point in zip(inputs, scales, zero_points, strict=True):
        total = total + (x.astype(np.int64) - zero_point).astype(f32) * f32(scale)
    return saturate(rint(total / f32(divisor) / f32(y_scale)) + y_zero_point, dtype)


def lp_normalization_onnx(x, axis: int, x_zero_point, y_scale, y_zero_point, dtype):
    """LpNormalization with p = 2 between quantised tensors: d / sqrt(sum(d * d)) in float32 with the exact sum, 0 for zeros.

    The scale of x cancels; onnxruntime keeps it, so the note at `reduce_onnx` holds here too (1 of a million differed).
    """
    d = x.astype(np.int64) - x_zero_point
    norm = np.sqrt((d * d).sum(axis=axis, keepdims=True).astype(f32))
    v = d.astype(f32) / np.where(norm == 0, f32(1), norm)
    return saturate(rint(v / f32(y_scale)) + y_zero_point, dtype)


def l2_normalization_builtin(x, x_zero_point):
    """L2_NORMALIZATION of TFLite along the last axis; the output has scale 1/128 and the middle of the type as zero point.

    The inverse norm is a fixed-point number by Newton's method; int8 multiplies d by 128 times it, uint8 128 * d by it.
    """
    d = x.astype(np.int64) - x_zero_point
    y = np.empty(x.shape, np.int64)
    for row in np.ndindex(x.shape[:-1]):
        multiplier, shift = inverse_square_root(int((d[row] ** 2).sum()))
        if x.dtype == np.uint8:
            y[row] = multiply_by_quantized_multiplier(128 * d[row], multiplier, shift) + 128
        else:
            y[row] = multiply_by_quantized_multiplier(d[row], multiplier, shift + 7)
    return saturate(y, str(x.dtype))


def inverse_square_root(v: int) -> tuple[int, int]:
    """(multiplier, shift <= 0) with 1 / sqrt(v) = multiplier * 2**(shift - 31) (TFLite GetInvSqrtQuantizedMultiplierExp)."""
    if v <= 1:
        return (1 << 31) - 1, 0
    shift = 11
    while v >= 1 << 29:
        v //= 4
        shift += 1
    pairs = (31 - v.bit_length()) // 2 - 1
    shift -= pairs
    half = ((v << (2 * pairs)) // 2 + 1) // 2
    x = 1 << 28  # 1.0 with 28 fractional bits
    for _ in range(5):
        cube = _high(_high(x, x), x) << 6
        x = (_high(3 << 27, x) - _high(half, cube)) << 3
    x = _high(x, 1518500250)  # sqrt(1/2) with 31 fractional bits
    return (x << -shift, 0) if shift < 0 else (x, -shift)


def _high(a: int, b: int) -> int:
    return (a * b + (1 << 30)) >> 31
