"""L2_NORMALIZE: real numbers step by step, and the fixed-point inverse square root of LiteRT's builtin kernels."""

from __future__ import annotations

import math

import numpy as np
import pytest

from furiosa.enf.isa import Rounding
from furiosa.runtime.simulator.kernels.normalize import inverse_square_root, l2_normalize

f32 = np.float32


def run(x: np.ndarray, rounding: int, zero_point: int = 0, scale: float = 1 / 128) -> np.ndarray:
    out = np.full(x.shape, 99, np.int8)
    l2_normalize(
        x,
        out,
        input_zero_point=zero_point,
        output_scale=scale,
        output_zero_point=0,
        clamp_min=-128,
        clamp_max=127,
        rounding=rounding,
    )
    return out


@pytest.mark.parametrize("seed", range(20))
def test_real_numbers(seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = rng.integers(-128, 128, (2, int(rng.integers(1, 40)), 3)).astype(np.int8)
    zero_point, scale = int(rng.integers(-128, 128)), float(f32(rng.uniform(0.005, 0.03)))
    x[0, :, 1] = zero_point  # nothing to divide by
    out = run(x, Rounding.QDQ, zero_point, scale)
    for i, k in np.ndindex(2, 3):
        d = [v - zero_point for v in x[i, :, k].tolist()]
        norm = f32(math.sqrt(float(f32(sum(v * v for v in d))))) or f32(1)
        y = [min(max(round(float(f32(f32(f32(v) / norm) / f32(scale)))), -128), 127) for v in d]
        assert out[i, :, k].tolist() == y


def test_inverse_square_root() -> None:
    """Close to the real one, over all sizes that sums of squares have: five steps leave a relative error of about 1e-6."""
    v = np.unique(np.round(2.0 ** np.arange(1, 44, 0.01)).astype(np.int64))
    multiplier, shift = inverse_square_root(v)
    assert (shift <= 0).all() and (multiplier < 1 << 31).all()
    real = multiplier * 2.0 ** (shift - 31.0)
    np.testing.assert_allclose(real, 1 / np.sqrt(v.astype(np.float64)), rtol=2e-6)
    assert [int(p) for p in inverse_square_root(np.array(0))] == [2**31 - 1, 0]
    assert [int(p) for p in inverse_square_root(np.array(1))] == [2**31 - 1, 0]


@pytest.mark.parametrize("rounding", [Rounding.TFLITE, Rounding.TFLITE_UINT8])
def test_fixed_point_is_close_to_the_quotient(rounding: int) -> None:
    """The results that LiteRT gives bit for bit are in tests/properties."""
    x = np.random.default_rng(3).integers(-128, 128, (50, 9, 2)).astype(np.int8)
    d = x.astype(np.float64) - 17
    real = 128 * d / np.sqrt((d * d).sum(axis=1, keepdims=True))
    assert np.abs(run(x, rounding, 17) - real.clip(-128, 127)).max() < 1.1
