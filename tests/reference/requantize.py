"""Conversions between float32 and 8-bit tensors and between two 8-bit scales."""

from __future__ import annotations

import numpy as np

from tests.reference.rounding import f32, rint, round_half_away, saturate


def quantize_xnnpack(x: np.ndarray, scale: float, zero_point: int, dtype: str) -> np.ndarray:
    """QUANTIZE of float32 in TFLite: rint(x * float32(1/scale)) + zero_point, by the reciprocal. Equals XNNPACK f32-qs8-vcvt."""
    return saturate(rint(_finite(x * (f32(1) / f32(scale)))) + zero_point, dtype)


def _finite(value: np.ndarray) -> np.ndarray:
    return np.clip(value, f32(-1e6), f32(1e6))


def quantize_onnxruntime(x: np.ndarray, scale: float, zero_point: int, dtype: str) -> np.ndarray:
    """QuantizeLinear: rint(x / scale) + zero_point, a true division. Equals onnxruntime."""
    return saturate(rint(_finite(x / f32(scale))) + zero_point, dtype)


def dequantize(x: np.ndarray, scale: float, zero_point: int) -> np.ndarray:
    """DEQUANTIZE and DequantizeLinear: float32(x - zero_point) * scale. Equals both runtimes."""
    return (x.astype(np.int64) - zero_point).astype(f32) * f32(scale)


def requantize_xnnpack(x: np.ndarray, x_scale, x_zero_point, y_scale, y_zero_point) -> np.ndarray:
    """QUANTIZE between two scales of one type in TFLite: ((A * m + 128) >> 8) + zy, m = rint(256 * float32(sx/sy)).

    Equals XNNPACK qs8/qu8-vcvt, which takes the operator where sx/sy lies in [2**-8, 2**7].
    """
    multiplier = int(rint(f32(256) * (f32(x_scale) / f32(y_scale))))
    return saturate(
        (((x.astype(np.int64) - x_zero_point) * multiplier + 128) >> 8) + y_zero_point, str(x.dtype)
    )


def shift_type(x: np.ndarray, x_zero_point: int, y_zero_point: int, dtype: str) -> np.ndarray:
    """QUANTIZE between int8 and uint8 of one scale in TFLite: the zero point moves, nothing is rounded."""
    return saturate(x.astype(np.int64) - x_zero_point + y_zero_point, dtype)


def concat_part_builtin(x: np.ndarray, x_scale, x_zero_point, y_scale, y_zero_point) -> np.ndarray:
    """One uint8 operand of a CONCATENATION whose output has another scale (TFLite builtin, ConcatenationWithScaling).

    s = float32(sx * float32(1/sy)); y = round_half_away(float32(x * s) - float32(zx * s)) + zy. LiteRT refuses this for int8.
    """
    if f32(x_scale) == f32(y_scale) and x_zero_point == y_zero_point:
        return x.copy()
    scale = f32(x_scale) * (f32(1) / f32(y_scale))
    bias = f32(-x_zero_point) * scale
    return saturate(round_half_away(x.astype(f32) * scale + bias) + y_zero_point, "uint8")
