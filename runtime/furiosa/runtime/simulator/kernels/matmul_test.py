"""MATMUL against sums of Python integers, where float32 is exact and where it is not."""

from __future__ import annotations

import numpy as np
import pytest

from furiosa.enf.isa import Rounding
from furiosa.runtime.simulator.kernels.matmul import matmul

f32 = np.float32


def definition(a, b, bias, scale, za, zb, zy, low, high) -> np.ndarray:
    total = np.matmul(a.astype(np.int64) - za, b.astype(np.int64) - zb) + bias
    y = np.rint(total.astype(f32) * scale).astype(np.int64) + zy
    return np.clip(y, low, high)


@pytest.mark.parametrize("seed", range(40))
def test_matmul(seed: int) -> None:
    rng = np.random.default_rng(seed)
    depth = int(rng.choice([1, 7, 255, 300, 2000]))
    batch = tuple(rng.integers(1, 4, 2))
    a = rng.integers(-128, 128, (*batch, 5, depth)).astype(np.int8)
    b = rng.integers(-128, 128, (*batch, 6, depth)).astype(np.int8).swapaxes(2, 3)
    bias = np.broadcast_to(rng.integers(-(2**20), 2**20, (1, 1, 1, 6)).astype(np.int32), (*batch, 5, 6))
    scale = rng.uniform(1e-5, 1e-3, 6).astype(f32)
    za, zb, zy = (int(v) for v in rng.integers(-128, 128, 3))
    out = np.zeros((*batch, 5, 12), np.int8)[..., ::2]
    points = {"a_zero_point": za, "b_zero_point": zb, "output_zero_point": zy}
    matmul(a, b, bias, scale, out, **points, clamp_min=-100, clamp_max=90)
    np.testing.assert_array_equal(out, definition(a, b, bias, scale, za, zb, zy, -100, 90))


def test_sums_beyond_float32() -> None:
    """255 * 255 * 300 and 1 less: float32 cannot tell the sums apart before they are rounded to even."""
    a = np.full((1, 1, 1, 300), 127, np.int8)
    b = np.full((1, 1, 300, 2), 127, np.int8)
    b[..., 0, 1] = 126
    bias = np.full((1, 1, 1, 2), -255 * 255 * 300, np.int32)
    out = np.zeros((1, 1, 1, 2), np.int8)
    points = {"a_zero_point": -128, "b_zero_point": -128, "output_zero_point": 0}
    matmul(a, b, bias, np.full(2, 0.1, f32), out, **points, clamp_min=-128, clamp_max=127)
    assert out.reshape(-1).tolist() == [0, -26]  # 0 and -255 / 10, a tie in even company


@pytest.mark.parametrize(("half_up", "expected"), [(0, [-3, -2, -1, 1, 2, 3]), (1, [-2, -1, 0, 1, 2, 3])])
def test_fixed_point(half_up: int, expected: list[int]) -> None:
    """A factor of 1/4: sums of 2 modulo 4 are ties of the second rounding."""
    a = np.array([-10, -6, -2, 2, 6, 10], np.int8).reshape(1, 1, 6, 1)
    out = np.zeros((1, 1, 6, 1), np.int8)
    numbers = {"rounding": Rounding.TFLITE, "multiplier": 1 << 30, "shift": -1, "half_up": half_up}
    points = {
        "a_zero_point": 0,
        "b_zero_point": 0,
        "output_zero_point": 0,
        "clamp_min": -128,
        "clamp_max": 127,
    }
    bias, scale = np.zeros((1, 1, 6, 1), np.int32), np.ones(1, f32)
    matmul(a, np.ones((1, 1, 1, 1), np.int8), bias, scale, out, **points, **numbers)
    assert out.reshape(-1).tolist() == expected
