"""L2_NORMALIZE: division by the Euclidean norm."""

from __future__ import annotations

import numpy as np

from furiosa.enf.isa import Rounding
from furiosa.runtime.simulator.kernels.reduce import sum_of_squares

f32 = np.float32

_HALF_SQRT_2 = 1518500250  # sqrt(1/2) with 31 fractional bits


def l2_normalize(
    input: np.ndarray,
    output: np.ndarray,
    *,
    input_zero_point: int,
    output_scale: float,
    output_zero_point: int,
    clamp_min: int,
    clamp_max: int,
    rounding: int,
) -> None:
    """output [outer, depth, inner]: input over its norm along depth, in the arithmetic that ``rounding`` names."""
    squares = sum_of_squares(input, input_zero_point, (1,))
    if rounding == Rounding.QDQ:
        norm = np.sqrt(squares.astype(f32))
        norm[squares == 0] = 1  # d is 0 as well
        v = (input.astype(np.int16) - np.int16(input_zero_point)).astype(f32)
        v /= norm
        v /= f32(output_scale)
        y = np.rint(v) + f32(output_zero_point)
    else:
        d = input.astype(np.int64) - input_zero_point
        multiplier, shift = inverse_square_root(squares)
        if rounding == Rounding.TFLITE:
            shift += 7  # the output's scale is 1/128
        else:
            d *= 128
        high = _rounded_high(d << np.maximum(shift, 0), multiplier)
        y = _divide_by_power(high, np.maximum(-shift, 0)) + output_zero_point
    np.copyto(output, np.clip(y, clamp_min, clamp_max), casting="unsafe")


def inverse_square_root(v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(m, shift) with 1 / sqrt(v) = m * 2**(shift - 31) as LiteRT's builtin kernels have it, shift <= 0.

    v is brought to [1/4, 1) by powers of 4; five steps of Newton's method in numbers with 28 fractional bits follow.
    """
    v = np.asarray(v, np.int64)
    small = v <= 1
    x = np.where(small, 4, v)
    shift = np.full(x.shape, 11, np.int64)
    for _ in range(10):  # 2**29 * 4**10 is beyond any sum of squares in SRAM
        large = x >= 1 << 29
        x = np.where(large, x // 4, x)
        shift += large
    bits = np.frexp(x.astype(np.float64))[1].astype(np.int64)
    pairs = (31 - bits) // 2 - 1
    shift -= pairs
    half = ((x << (2 * pairs)) // 2 + 1) >> 1
    root = np.full(x.shape, 1 << 28, np.int64)
    for _ in range(5):
        cube = _rounded_high(_rounded_high(root, root), root) << 6
        root = (_rounded_high(root, 3 << 27) - _rounded_high(half, cube)) << 3
    root = _rounded_high(root, _HALF_SQRT_2)
    root, shift = np.where(shift < 0, root << np.maximum(-shift, 0), root), np.maximum(shift, 0)
    return np.where(small, 2**31 - 1, root), np.where(small, 0, -shift)


def _rounded_high(a: np.ndarray, b: np.ndarray | int) -> np.ndarray:
    """a * b / 2**31, ties upwards."""
    return (a * b + (1 << 30)) >> 31


def _divide_by_power(v: np.ndarray, bits: np.ndarray) -> np.ndarray:
    """v / 2**bits, ties away from zero."""
    return np.sign(v) * ((np.abs(v) + ((1 << bits) >> 1)) >> bits)
