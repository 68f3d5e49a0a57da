"""MATMUL as float32 matrix products where these are exact, and as float64 products elsewhere."""

from __future__ import annotations

import numpy as np

from furiosa.enf.isa import Rounding
from furiosa.runtime.simulator.kernels.requantize import EXACT, f32


def matmul(
    a: np.ndarray,
    b: np.ndarray,
    bias: np.ndarray,
    scale: np.ndarray,
    output: np.ndarray,
    *,
    a_zero_point: int,
    b_zero_point: int,
    output_zero_point: int,
    clamp_min: int,
    clamp_max: int,
    rounding: int = Rounding.XNNPACK,
    multiplier: int = 0,
    shift: int = 0,
    half_up: int = 0,
) -> None:
    """y = clamp(rint(float32(sum((a - za) * (b - zb)) + bias) * scale[n]) + zy), or in fixed point.

    a int8 [B0,B1,M,K], b int8 [B0,B1,K,N], bias int32 [B0,B1,M,N], scale float32 [N], output int8 [B0,B1,M,N]; any strides.
    """
    largest = (128 + abs(a_zero_point)) * (128 + abs(b_zero_point)) * a.shape[3]
    dtype = f32 if largest < EXACT else np.float64  # 255 * 255 * K stays below 2**53 for any K
    for index in np.ndindex(output.shape[:2]):
        left = a[index].astype(dtype)
        left -= dtype(a_zero_point)
        right = b[index].astype(dtype)
        right -= dtype(b_zero_point)
        total = (left @ right).astype(np.float64) + bias[index]
        if rounding == Rounding.TFLITE:
            y = _fixed_point(total.astype(np.int64), multiplier, shift, half_up)
        else:
            y = total.astype(f32)
            y *= scale
            np.rint(y, out=y)
        y += y.dtype.type(output_zero_point)
        np.copyto(output[index], np.clip(y, clamp_min, clamp_max), casting="unsafe")


def _fixed_point(total: np.ndarray, multiplier: int, shift: int, half_up: int) -> np.ndarray:
    """total * multiplier * 2**(shift - 31) with two roundings: ties upwards, then away from zero or upwards."""
    high = (total * multiplier + (1 << 30)) >> 31
    right = -shift
    half = (1 << right) >> 1
    if half_up:
        return (high + half) >> right
    return np.sign(high) * ((np.abs(high) + half) >> right)
