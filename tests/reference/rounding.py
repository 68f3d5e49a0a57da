"""Rounding and saturation that the rules of every operator share.

All functions work on the values of the tensor's own type, int8 or uint8; nothing here assumes that uint8 was shifted to int8.
"""

from __future__ import annotations

import math

import numpy as np

f32 = np.float32


def rint(value: np.ndarray) -> np.ndarray:
    """Rounds float32 to the nearest integer, ties to even (the default rounding of IEEE 754), as int64."""
    return np.rint(value).astype(np.int64)


def round_half_away(value: np.ndarray) -> np.ndarray:
    """Rounds float32 to the nearest integer, ties away from zero (C `round`), as int64."""
    wide = np.asarray(value, np.float64)
    return np.copysign(np.floor(np.abs(wide) + 0.5), wide).astype(np.int64)


def saturate(value: np.ndarray, dtype: str, bounds: tuple[int, int] | None = None) -> np.ndarray:
    """Clamps integers to the range of `dtype`, or to narrower `bounds` (both ends included), and casts."""
    info = np.iinfo(dtype)
    low, high = bounds or (info.min, info.max)
    return np.clip(value, max(low, info.min), min(high, info.max)).astype(dtype)


_RANGES = {
    "NONE": (None, None),
    "RELU_0_TO_1": (0.0, 1.0),
    "RELU": (0.0, None),
    "RELU6": (0.0, 6.0),
    "RELU_N1_TO_1": (-1.0, 1.0),
}


def activation_bounds_xnnpack(activation: str, scale: float, zero_point: int, dtype: str) -> tuple[int, int]:
    """The output range of an activation fused into an operator that XNNPACK runs.

    bound(v) = rint(float32(v / scale) + float32(zero_point)): the zero point is added before the rounding, so a tie is
    decided by the parity of the sum.
    """
    return _bounds(activation, dtype, lambda v: int(rint(f32(v) / f32(scale) + f32(zero_point))))


def activation_bounds_builtin(activation: str, scale: float, zero_point: int, dtype: str) -> tuple[int, int]:
    """The output range of an activation of an operator that TFLite's own kernels run (average pool, RELU, RELU6).

    bound(v) = round_half_away(float32(v / scale)) + zero_point (CalculateActivationRangeQuantized).
    """
    return _bounds(activation, dtype, lambda v: int(round_half_away(f32(v) / f32(scale))) + zero_point)


def _bounds(activation: str, dtype: str, bound) -> tuple[int, int]:
    info = np.iinfo(dtype)
    low, high = _RANGES[activation]
    return (
        info.min if low is None else max(info.min, bound(low)),
        info.max if high is None else min(info.max, bound(high)),
    )


def quantized_multiplier(real: float) -> tuple[int, int]:
    """(multiplier, shift) with real = multiplier * 2**(shift - 31), 2**30 <= multiplier < 2**31 (TFLite QuantizeMultiplier)."""
    fraction, shift = math.frexp(real)
    multiplier = math.floor(fraction * (1 << 31) + 0.5)
    if multiplier == 1 << 31:
        multiplier, shift = multiplier // 2, shift + 1
    return (0, 0) if shift < -31 else (multiplier, shift)


def multiply_by_quantized_multiplier(value: np.ndarray, multiplier: int, shift: int) -> np.ndarray:
    """value * multiplier * 2**(shift - 31) with TFLite's two roundings (the builtin kernels' MultiplyByQuantizedMultiplier).

    First the high half of the doubled product, ties up; then the division by 2**-shift, ties away from zero.
    """
    value = np.asarray(value, np.int64) << max(shift, 0)
    high = (value * multiplier + (1 << 30)) >> 31
    return _divide_half_away(high, max(-shift, 0))


def _divide_half_away(value: np.ndarray, bits: int) -> np.ndarray:
    if bits == 0:
        return value
    magnitude = (np.abs(value) + (1 << (bits - 1))) >> bits
    return np.where(value < 0, -magnitude, magnitude)
