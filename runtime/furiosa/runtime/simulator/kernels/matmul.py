"""MATMUL as float32 matrix products where these are exact, and as float64 products elsewhere."""

from __future__ import annotations

import numpy as np

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
) -> None:
    """y = clamp(rint(float32(sum((a - za) * (b - zb)) + bias) * scale[n]) + zy).

    a int8 [B0,B1,M,K], b int8 [B0,B1,K,N], bias int32 [B0,B1,M,N], scale float32 [N], output int8 [B0,B1,M,N]; any strides.
    """
    largest = (128 + abs(a_zero_point)) * (128 + abs(b_zero_point)) * a.shape[3]
    dtype = f32 if largest < EXACT else np.float64  # 255 * 255 * K stays below 2**53 for any K
    for index in np.ndindex(output.shape[:2]):
        left = a[index].astype(dtype)
        left -= dtype(a_zero_point)
        right = b[index].astype(dtype)
        right -= dtype(b_zero_point)
        y = ((left @ right).astype(np.float64) + bias[index]).astype(f32)
        y *= scale
        np.rint(y, out=y)
        y += f32(output_zero_point)
        np.copyto(output[index], np.clip(y, clamp_min, clamp_max), casting="unsafe")
