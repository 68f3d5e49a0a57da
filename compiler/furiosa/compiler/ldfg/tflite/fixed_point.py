"""LiteRT's builtin kernels in fixed point: scaling by a 31-bit multiplier and a power of two.  Tested in tests/reference."""

from __future__ import annotations

import math

import numpy as np

from furiosa.compiler.ldfg.arithmetic import f32


def multiplier(real: float) -> tuple[int, int]:
    """(m, shift) with real = m * 2^(shift - 31), 2^30 <= |m| < 2^31 (QuantizeMultiplier)."""
    fraction, shift = math.frexp(real)
    m = math.floor(abs(fraction) * 2.0**31 + 0.5)
    if m == 1 << 31:
        m, shift = m // 2, shift + 1
    return (0, 0) if shift < -31 else (m if real >= 0 else -m, shift)


def scale(values: np.ndarray, real: float, *, half_up: bool = False) -> np.ndarray:
    """values * real in two roundings: halves up, then, for what is left of the shift, halves away from 0 (or up as well)."""
    m, shift = multiplier(real)
    high = ((values.astype(np.int64) << max(shift, 0)) * m + (1 << 30)) >> 31
    right = max(-shift, 0)
    if not right:
        return high
    half = 1 << (right - 1)
    if half_up:
        return (high + half) >> right
    return np.sign(high) * ((np.abs(high) + half) >> right)


def add(s_a: np.float32, s_b: np.float32, s_y: np.float32) -> dict[str, int] | None:
    """Parameters of ADD for the rounding tflite; None where LiteRT refuses the scales, or its 16-bit results overflow."""
    if 255 * (float(s_a) + float(s_b)) + 256 * float(s_y) >= 2**15 * float(s_y):
        return None
    largest = 2 * max(float(s_a), float(s_b))
    out, right = multiplier(largest / (2.0**20 * float(s_y)))
    if right > 0:
        return None
    (a, a_right), (b, b_right) = (multiplier(float(s) / largest) for s in (s_a, s_b))
    shifts = {"a_shift": -a_right, "b_shift": -b_right, "shift": -right}
    return {"a_multiplier": a, "b_multiplier": b, "output_multiplier": out, **shifts}


def hard_swish(values: np.ndarray, s_x: np.float32, s_y: np.float32) -> np.ndarray | None:
    """x * relu6(x + 3) / 6 in 16 bits, less the output's zero point; None where LiteRT refuses the scales."""
    fine = f32(f32(1 / 128) * s_x)
    out_m, out_shift = multiplier(float(f32(fine / s_y)))
    relu_m, relu_shift = multiplier(float(f32(fine / f32(f32(3) / f32(32768)))))
    if out_shift > 0:
        return None
    out_m, relu_m = (min((m + (1 << 15)) >> 16, 32767) for m in (out_m, relu_m))
    x = values.astype(np.int64) << 7
    gate = x
    if relu_shift > 0:
        gate = _saturate(gate << (relu_shift - 1))
    gate = _high(gate * relu_m)
    if relu_shift > 0:
        gate = _saturate(gate << 1)
    elif relu_shift < 0:
        gate = _shift(gate, -relu_shift)
    gate = (gate + (1 << 15)) >> 1
    product = gate * _high(x * out_m)
    return _shift(np.sign(product) * (np.abs(product) >> 15), -out_shift)


def _saturate(v: np.ndarray) -> np.ndarray:
    return np.clip(v, -(1 << 15), (1 << 15) - 1)


def _high(product: np.ndarray) -> np.ndarray:
    """The high half of a doubled product of 16-bit numbers, halves up."""
    return (product + (1 << 14)) >> 15


def _shift(v: np.ndarray, bits: int) -> np.ndarray:
    """v / 2^bits, halves away from 0."""
    return np.sign(v) * ((np.abs(v) + ((1 << bits) >> 1)) >> bits)
