"""Multiplication and addition with one rounding, against exact fractions."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from furiosa.runtime.simulator.kernels.fused import multiply_add

f32 = np.float32


def exact(a: float, b: float, c: float) -> np.float32:
    true = Fraction(a) * Fraction(b) + Fraction(c)
    near = f32(float(true))
    around = [near, np.nextafter(near, f32(np.inf)), np.nextafter(near, f32(-np.inf))]
    return min(around, key=lambda v: (abs(Fraction(float(v)) - true), int(v.view(np.int32)) & 1))


@pytest.mark.parametrize("seed", range(3))
def test_random_numbers(seed: int) -> None:
    rng = np.random.default_rng(seed)
    a, b, c = (rng.normal(0, 1, 500).astype(f32) * f32(2.0) ** rng.integers(-9, 9, 500) for _ in range(3))
    a, b, c = (v.astype(f32) for v in (a, b, c))
    expected = [exact(*map(float, v)) for v in zip(a, b, c)]
    np.testing.assert_array_equal(multiply_add(a, b, c), np.array(expected, f32))


def test_two_roundings_would_be_wrong() -> None:
    """Sums that lie within 2^-53 of halfway between two float32 numbers, on either side of it, and on it."""
    c = f32(1)
    half = f32(2.0**-24)  # of the last place of 1
    least = f32(2.0**-60)
    a = np.array([half, half, half, -half / 2, -half / 2, -half / 2], f32)
    b = np.array([1, 1 + 2.0**-23, 1 - 2.0**-24, 1, 1 + 2.0**-23, 1 - 2.0**-24], f32)
    expected = [exact(float(x), float(y), 1.0) for x, y in zip(a, b)]
    np.testing.assert_array_equal(multiply_add(a, b, np.full(6, c)), np.array(expected, f32))
    tiny = multiply_add(np.array([least, -least]), np.array([1, 1], f32), np.array([1 + 2.0**-23] * 2, f32))
    assert tiny.tolist() == [1 + 2.0**-23] * 2
    # far below float64's last place of the sum: only the direction is left of it
    wide = f32(2.0**-24) * np.ones(2, f32), np.array([1, 1], f32)
    total = multiply_add(*wide, np.array([1, 1 + 2.0**-23], f32))
    assert total.tolist() == [1, 1 + 2.0**-22]  # ties to even


def test_broadcasting_and_what_is_no_number() -> None:
    a = np.array([[1, np.inf], [np.nan, 2]], f32)
    with np.errstate(invalid="ignore"):
        out = multiply_add(a, np.array([2, 0], f32), f32(1))
    np.testing.assert_array_equal(out, np.array([[3, np.nan], [np.nan, 1]], f32))
