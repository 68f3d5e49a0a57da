"""The numbers that integer commands carry, derived from scales and zero points in the reference runtimes' own order.

Everything here is Python or single-operation float32 arithmetic, so that the same model gives the same bytes on every
machine: numpy's vectorised transcendental functions differ between processors and are not used.  The rules are stated
and tested against the runtimes in tests/reference.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

f32 = np.float32


def round_half_away(x: float) -> int:
    return math.floor(abs(x) + 0.5) * (1 if x >= 0 else -1)


def conv_scale(s_in: np.ndarray, s_weight: np.ndarray, s_out: np.ndarray, channels: int) -> np.ndarray:
    """float32 [channels]: m[c] = float32(float32(s_in * s_w[c]) / s_out), XNNPACK's and onnxruntime's order."""
    m = (f32(s_in) * s_weight.astype(f32)).astype(f32) / f32(s_out)
    return np.broadcast_to(m.astype(f32), (channels,)).copy()


def xnnpack_bounds(activation: str, scale: float, zero_point: int, low: int, high: int) -> tuple[int, int]:
    """The clamp of a fused activation as XNNPACK computes it: bound(v) = rint(float32(v / s) + float32(zero_point))."""

    def bound(v: float) -> int:
        return int(min(max(np.rint(f32(f32(v) / f32(scale)) + f32(zero_point)), low), high))

    return _bounds(activation, bound, low, high)


def tflite_bounds(activation: str, scale: float, zero_point: int, low: int, high: int) -> tuple[int, int]:
    """The clamp of an activation as LiteRT's builtin kernels compute it: round half away of v / s, plus the zero point."""

    def bound(v: float) -> int:
        return min(max(round_half_away(float(f32(f32(v) / f32(scale)))) + zero_point, low), high)

    return _bounds(activation, bound, low, high)


def _bounds(activation: str, bound: Callable[[float], int], low: int, high: int) -> tuple[int, int]:
    if activation == "RELU":
        return max(low, bound(0.0)), high
    if activation == "RELU_0_TO_1":
        return max(low, bound(0.0)), min(high, bound(1.0))
    if activation == "RELU6":
        return max(low, bound(0.0)), min(high, bound(6.0))
    if activation == "RELU_N1_TO_1":
        return max(low, bound(-1.0)), min(high, bound(1.0))
    return low, high


def xnnpack_add(s_a: float, s_b: float, s_y: float) -> tuple[int, int, int] | None:
    """(A, B, shift) of XNNPACK's fixed-point addition; None where XNNPACK leaves the addition to the builtin kernel."""
    ra, rb = f32(f32(s_a) / f32(s_y)), f32(f32(s_b) / f32(s_y))
    if not all(2**-10 <= r < 2**8 for r in (ra, rb)):
        return None
    shift = 20 - (math.frexp(float(max(ra, rb)))[1] - 1)
    return int(np.rint(float(ra) * 2.0**shift)), int(np.rint(float(rb) * 2.0**shift)), shift


def table(function: Callable[[int], int]) -> np.ndarray:
    """uint8 [256] for TABLE_LOOKUP from a function of an int8 value to an int8 value; indexed by the unsigned byte."""
    out = np.empty(256, np.uint8)
    for q in range(-128, 128):
        out[q & 0xFF] = function(q) & 0xFF
    out.flags.writeable = False
    return out


def real_values(scale: np.float32, zero_point: int) -> np.ndarray:
    """float32 [256]: the real numbers of the int8 values -128 to 127, float32(float32(q - zero_point) * scale)."""
    return (np.arange(-128, 128) - zero_point).astype(f32) * f32(scale)


def tables(values: np.ndarray) -> np.ndarray:
    """uint8 [tables, 256] for TABLE_LOOKUP from int8 values [tables, 256] for the inputs -128 to 127."""
    out = np.roll(values.astype(np.int8).view(np.uint8), 128, axis=-1)
    out.flags.writeable = False
    return out


def clamp(v: float, low: int = -128, high: int = 127) -> int:
    return int(min(max(v, low), high))
