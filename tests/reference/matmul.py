"""Matrix products of two activations, and Gemm."""

from __future__ import annotations

import numpy as np

from tests.reference.conv import multipliers, requantize


def matmul(a, b, a_scale, a_zero_point, b_scale, b_zero_point, y_scale, y_zero_point, bias=None, alpha=1.0):
    """QLinearMatMul and QGemm, and XNNPACK's BATCH_MATMUL: sum((a - za) * (b - zb)) + bias, times m[c], rounded half to even.

    m[c] = float32(float32(float32(alpha * sa) * sb[c]) / sy); both factors as NumPy's matmul takes them.
    """
    total = np.matmul(a.astype(np.int64) - a_zero_point, b.astype(np.int64) - b_zero_point)
    if bias is not None:
        total = total + bias
    scale = multipliers(np.float32(alpha) * np.float32(a_scale), b_scale, y_scale)
    return requantize(np.asarray(total), scale, y_zero_point, str(a.dtype))
