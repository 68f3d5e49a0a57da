"""Matrix products of two activations, and Gemm."""

from __future__ import annotations

import numpy as np

from tests.reference.conv import multipliers, requantize
from tests.reference.rounding import quantized_multiplier, saturate


def matmul(a, b, a_scale, a_zero_point, b_scale, b_zero_point, y_scale, y_zero_point, bias=None, alpha=1.0):
    """QLinearMatMul and QGemm, and XNNPACK's BATCH_MATMUL: sum((a - za) * (b - zb)) + bias, times m[c], rounded half to even.

    m[c] = float32(float32(float32(alpha * sa) * sb[c]) / sy); both factors as NumPy's matmul takes them.
    """
    total = np.matmul(a.astype(np.int64) - a_zero_point, b.astype(np.int64) - b_zero_point)
    if bias is not None:
        total = total + bias
    scale = multipliers(np.float32(alpha) * np.float32(a_scale), b_scale, y_scale)
    return requantize(np.asarray(total), scale, y_zero_point, str(a.dtype))


def matmul_builtin(
    a,
    b,
    a_scale,
    a_zero_point,
    b_scale,
    b_zero_point,
    y_scale,
    y_zero_point,
    bias=None,
    bounds=None,
    fully_connected=False,
):
    """LiteRT's builtin int8 kernels: BATCH_MATMUL with a second zero point, FULLY_CONNECTED with weights that are no constants.

    The sum times a fixed-point factor is rounded twice: to 31 bits less with ties upwards, then by the factor's exponent with
    ties away from zero, or, in FULLY_CONNECTED (b as NumPy has it, not transposed), upwards again.  The factor is
    float32(sa * sb) / sy in double.
    """
    total = np.matmul(a.astype(np.int64) - a_zero_point, b.astype(np.int64) - b_zero_point)
    if bias is not None:
        total = total + bias
    factor = float(np.float32(a_scale) * np.float32(b_scale)) / float(np.float32(y_scale))
    multiplier, shift = quantized_multiplier(factor)
    high = ((total << max(shift, 0)) * multiplier + (1 << 30)) >> 31
    right = max(-shift, 0)
    half = (1 << right) >> 1
    away = np.where(high < 0, -((-high + half) >> right), (high + half) >> right)
    return saturate(((high + half) >> right if fully_connected else away) + y_zero_point, "int8", bounds)
