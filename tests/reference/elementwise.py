"""Element-wise operators of two quantised tensors, and LEAKY_RELU: XNNPACK (TFLite) and onnxruntime round differently.

Operands broadcast as in NumPy; a, b are int8 or uint8 arrays, results have the same type.
"""

from __future__ import annotations

import math

import numpy as np

from tests.reference.rounding import (
    f32,
    multiply_by_quantized_multiplier,
    quantized_multiplier,
    rint,
    saturate,
)


def fixed_point_factors(a_scale: float, b_scale: float, y_scale: float) -> tuple[int, int, int]:
    """(multiplier_a, multiplier_b, shift) of XNNPACK's vadd: the larger multiplier has 21 bits.

    r = float32(scale / y_scale); shift = 20 - floor(log2(max(ra, rb))); multiplier = rint(r * 2**shift).
    """
    ratio_a, ratio_b = f32(a_scale) / f32(y_scale), f32(b_scale) / f32(y_scale)
    shift = 20 - (math.frexp(max(ratio_a, ratio_b))[1] - 1)
    return int(rint(np.ldexp(float(ratio_a), shift))), int(rint(np.ldexp(float(ratio_b), shift))), shift


def add_xnnpack(
    a, b, a_scale, a_zero_point, b_scale, b_zero_point, y_scale, y_zero_point, bounds=None, sign=1
) -> np.ndarray:
    """ADD (sign = 1) and SUB (sign = -1) of TFLite: ((A*ma + B*mb + half) >> shift) + zy. Equals XNNPACK qs8/qu8-vadd.

    XNNPACK takes the operator where both ratios of scales lie in [2**-10, 2**8).
    """
    multiplier_a, multiplier_b, shift = fixed_point_factors(a_scale, b_scale, y_scale)
    total = (a.astype(np.int64) - a_zero_point) * multiplier_a
    total = total + sign * (b.astype(np.int64) - b_zero_point) * multiplier_b
    return saturate(((total + (1 << (shift - 1))) >> shift) + y_zero_point, str(a.dtype), bounds)


def multiply_xnnpack(
    a, b, a_scale, a_zero_point, b_scale, b_zero_point, y_scale, y_zero_point, bounds=None
) -> np.ndarray:
    """MUL of TFLite: rint(float32(A*B) * m) + zy, m = float32(float32(sa*sb) / sy). Equals XNNPACK qs8/qu8-vmul.

    XNNPACK takes the operator where m lies in [2**-16, 2**8).
    """
    multiplier = f32(a_scale) * f32(b_scale) / f32(y_scale)
    product = (a.astype(np.int64) - a_zero_point) * (b.astype(np.int64) - b_zero_point)
    return saturate(rint(product.astype(f32) * multiplier) + y_zero_point, str(a.dtype), bounds)


def leaky_relu_xnnpack(x, alpha: float, x_scale, x_zero_point, y_scale, y_zero_point) -> np.ndarray:
    """LEAKY_RELU of TFLite: ((A * m + 128) >> 8) + zy, m = rint(256 * r) or, below zero, rint(256 * float32(r * alpha))."""
    ratio = f32(x_scale) / f32(y_scale)
    positive, negative = int(rint(f32(256) * ratio)), int(rint(f32(256) * (ratio * f32(alpha))))
    a = x.astype(np.int64) - x_zero_point
    return saturate(((a * np.where(a >= 0, positive, negative) + 128) >> 8) + y_zero_point, str(x.dtype))


def relu_builtin(x, bounds: tuple[int, int], x_scale, x_zero_point, y_scale, y_zero_point) -> np.ndarray:
    """RELU and RELU6 as operators of their own in TFLite (builtin kernels: fixed point, two roundings).

    With equal scales it is a plain shift of the zero point. `bounds`: rounding.activation_bounds_builtin.
    """
    multiplier, shift = quantized_multiplier(float(f32(x_scale)) / float(f32(y_scale)))
    scaled = multiply_by_quantized_multiplier(x.astype(np.int64) - x_zero_point, multiplier, shift)
    return saturate(scaled + y_zero_point, str(x.dtype), bounds)


def fma(a, b, c) -> np.ndarray:
    """float32(a * b + c) with one rounding. The product of two float32 is exact in double, and so is the sum for the
    operands of `add_onnxruntime` (8-bit integer times a ratio of scales, plus a value of similar size)."""
    return (np.asarray(a, np.float64) * np.asarray(b, np.float64) + np.asarray(c, np.float64)).astype(f32)


def add_onnxruntime(a, b, a_scale, a_zero_point, b_scale, b_zero_point, y_scale, y_zero_point) -> np.ndarray:
    """QLinearAdd: rint(fma(a, ra, fma(b, rb, f))), f = float32(zy - fma(ra, za, float32(rb * zb))), r = float32(scale / sy).

    Raw values and zero points of the tensor's own type. Equals MLAS on x86 with AVX2 or newer, unless each innermost
    run of b's elements meets a single element of a: then onnxruntime swaps the operands.
    """
    ratio_a, ratio_b = f32(a_scale) / f32(y_scale), f32(b_scale) / f32(y_scale)
    fixed = f32(y_zero_point) - fma(ratio_a, a_zero_point, ratio_b * f32(b_zero_point))
    return saturate(rint(fma(a, ratio_a, fma(b, ratio_b, fixed))), str(a.dtype))


def multiply_onnxruntime(
    a, b, a_scale, a_zero_point, b_scale, b_zero_point, y_scale, y_zero_point
) -> np.ndarray:
    """QLinearMul: rint(float32(float32(A*B) * m) + zy), m = float32(float32(sa*sb) / sy); zy is added before the rounding."""
    multiplier = f32(a_scale) * f32(b_scale) / f32(y_scale)
    product = (a.astype(np.int64) - a_zero_point) * (b.astype(np.int64) - b_zero_point)
    return saturate(rint(product.astype(f32) * multiplier + f32(y_zero_point)), str(a.dtype))


def float_onnxruntime(
    function, a, b, a_scale, a_zero_point, b_scale, b_zero_point, y_scale, y_zero_point, dtype: str = ""
) -> np.ndarray:
    """DequantizeLinear -> function(a, b) -> QuantizeLinear as three float32 operators, e.g. Sub, or Add followed by Relu.

    `dtype`: of the result, where it is not a's.
    """
    real_a = (a.astype(np.int64) - a_zero_point).astype(f32) * f32(a_scale)
    real_b = (b.astype(np.int64) - b_zero_point).astype(f32) * f32(b_scale)
    return saturate(rint(function(real_a, real_b) / f32(y_scale)) + y_zero_point, dtype or str(a.dtype))
