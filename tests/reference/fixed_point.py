"""What LiteRT's builtin kernels compute in fixed point: ADD, HARD_SWISH, LEAKY_RELU, PRELU, QUANTIZE."""

from __future__ import annotations

import numpy as np

from tests.reference.rounding import f32, multiply_by_quantized_multiplier, quantized_multiplier, saturate


def _scale(values: np.ndarray, real: float) -> np.ndarray:
    """values * real by TFLite's multiplier and two roundings; real may be negative."""
    multiplier, shift = quantized_multiplier(abs(real)) if real else (0, 0)
    return multiply_by_quantized_multiplier(values, multiplier if real > 0 else -multiplier, shift)


def leaky_relu(x, alpha: float, x_scale, x_zero_point, y_scale, y_zero_point) -> np.ndarray:
    """LEAKY_RELU where XNNPACK does not take it: a slope outside [2**-8, 2**7]."""
    a = x.astype(np.int64) - x_zero_point
    up = float(f32(x_scale) / f32(y_scale))
    down = float(f32(x_scale) * f32(alpha) / f32(y_scale))
    return saturate(np.where(a >= 0, _scale(a, up), _scale(a, down)) + y_zero_point, str(x.dtype))


def prelu(
    x, slope, slope_scale, slope_zero_point, x_scale, x_zero_point, y_scale, y_zero_point
) -> np.ndarray:
    """PRELU: A * (sx/sy) or, below zero, A * S * (sx*ss/sy); the slope broadcasts."""
    a = x.astype(np.int64) - x_zero_point
    s = slope.astype(np.int64) - slope_zero_point
    up = float(f32(x_scale) / f32(y_scale))
    down = float(f32(x_scale) * f32(slope_scale) / f32(y_scale))
    return saturate(np.where(a >= 0, _scale(a, up), _scale(a * s, down)) + y_zero_point, str(x.dtype))


def add(
    a, b, a_scale, a_zero_point, b_scale, b_zero_point, y_scale, y_zero_point, bounds=None, sign=1
) -> np.ndarray:
    """ADD (sign = 1) and SUB (-1) where XNNPACK does not take them: 20 more bits, then the larger scale's double as unit."""
    unit = 2 * max(float(f32(a_scale)), float(f32(b_scale)))
    first = _scale((a.astype(np.int64) - a_zero_point) << 20, float(f32(a_scale)) / unit)
    second = _scale((b.astype(np.int64) - b_zero_point) << 20, float(f32(b_scale)) / unit)
    total = _scale(first + sign * second, unit / (2.0**20 * float(f32(y_scale))))
    return saturate(total + y_zero_point, str(a.dtype), bounds)


def requantize(x, x_scale, x_zero_point, y_scale, y_zero_point, dtype: str) -> np.ndarray:
    """QUANTIZE between int8 and uint8, or beyond XNNPACK's range: in blocks of 16 elements every tie goes up.

    What is left at the end rounds the shift's ties away from zero, as all other kernels do.
    """
    multiplier, shift = quantized_multiplier(float(f32(x_scale)) / float(f32(y_scale)))
    a = x.reshape(-1).astype(np.int64) - x_zero_point
    high = ((a << max(shift, 0)) * multiplier + (1 << 30)) >> 31
    up = (high + ((1 << max(-shift, 0)) >> 1)) >> max(-shift, 0)
    away = multiply_by_quantized_multiplier(a, multiplier, shift)
    in_blocks = np.arange(a.size) < a.size // 16 * 16
    return saturate(np.where(in_blocks, up, away) + y_zero_point, dtype).reshape(x.shape)


def hard_swish(x, x_scale, x_zero_point, y_scale, y_zero_point) -> np.ndarray:
    """HARD_SWISH in 16-bit numbers; LiteRT takes it where sx / (128 * sy) < 1."""
    table = [
        _hard_swish(a - x_zero_point, f32(x_scale), f32(y_scale))
        for a in range(np.iinfo(x.dtype).min, np.iinfo(x.dtype).max + 1)
    ]
    return saturate(np.array(table)[x.astype(np.int64) - np.iinfo(x.dtype).min] + y_zero_point, str(x.dtype))


def _hard_swish(a: int, x_scale: np.float32, y_scale: np.float32) -> int:
    hires = f32(1 / 128) * x_scale
    out, out_shift = quantized_multiplier(float(hires / y_scale))
    relu, relu_shift = quantized_multiplier(float(hires / (f32(3) / f32(32768))))
    assert out_shift <= 0
    value = a * 128
    gate = _saturate(value << (relu_shift - 1)) if relu_shift > 0 else value
    gate = _doubling_high(gate, _to_16_bits(relu))
    if relu_shift > 0:
        gate = _saturate(gate << 1)
    else:
        gate = _divide(gate, -relu_shift)
    gate = (gate + 32768) >> 1  # from [-1, 1] to [0, 1]
    product = gate * _doubling_high(value, _to_16_bits(out))
    return _divide(int(product / 32768), -out_shift)  # the quotient is cut off


def _to_16_bits(multiplier: int) -> int:
    return min((multiplier + (1 << 15)) >> 16, 32767)


def _saturate(value: int) -> int:
    return max(-32768, min(32767, value))


def _doubling_high(a: int, b: int) -> int:
    return (a * b + (1 << 14)) >> 15


def _divide(value: int, bits: int) -> int:
    half = (1 << bits) >> 1
    return (abs(value) + half >> bits) * (1 if value >= 0 else -1)
