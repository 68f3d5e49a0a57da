"""LAYER_NORM, VARIANCE, STANDARDIZE and DIV with numbers that a model has not, but a file may; the results of real ones are in tests/properties."""

from __future__ import annotations

import numpy as np

from furiosa.runtime.simulator.kernels.elementwise import div
from furiosa.runtime.simulator.kernels.layer_norm import layer_norm
from furiosa.runtime.simulator.kernels.moments import standardize, variance

f32 = np.float32
IN = {"input_zero_point": 0, "input_scale": 2.0**30}
OUT = {"output_scale": 1.0, "output_zero_point": 5, "clamp_min": -100, "clamp_max": 90}
X = np.array([[-128, 127] * 6, [3] * 12], np.int8)


def test_weights_that_are_no_numbers() -> None:
    out = np.zeros(X.shape, np.int8)
    weight = np.array([np.nan, np.inf, -np.inf, 1e38] * 3, f32)
    layer_norm(X, weight, np.zeros(12, f32), out, subtract_mean=1, epsilon=1e-5, **IN, **OUT)
    assert out[0, :4].tolist() == [-100, 90, 90, 90]
    assert out[1, :4].tolist() == [-100, -100, -100, 5]  # 0 * infinity is no number


def test_large_scales() -> None:
    out = np.zeros((2, 1), np.int8)
    variance(X, out, **IN, **OUT)
    assert out.tolist() == [[90], [5]]


def test_divisors_that_are_no_numbers() -> None:
    out = np.zeros(X.shape, np.int8)
    table = np.full(256, np.nan, f32)
    table[128 + 1] = 0
    standardize(X, np.array([[1], [2]], np.int8), table, out, **IN, **OUT)
    assert out[0, :2].tolist() == [-100, 90] and set(out[1].tolist()) == {-100}


def test_many_rows_are_computed_in_blocks() -> None:
    rng = np.random.default_rng(0)
    x = rng.integers(-128, 128, (40_000, 12)).astype(np.int8)
    whole, parts = np.zeros((40_000, 1), np.int8), np.zeros((40_000, 1), np.int8)
    real = {"input_zero_point": 3, "input_scale": 0.02}
    variance(x, whole, **real, **OUT)
    for i in range(0, 40_000, 10_000):
        variance(x[i : i + 10_000], parts[i : i + 10_000], **real, **OUT)
    np.testing.assert_array_equal(whole, parts)


def test_division_by_zero() -> None:
    a, b = np.array([[[[7, -7, 0, 6]]]], np.int8), np.array([[[[0, 0, 0, 2]]]], np.int8)
    out = np.zeros(a.shape, np.int8)
    div(a, b, out, a_zero_point=0, b_zero_point=0, a_scale=1.0, b_scale=1.0, **OUT)
    assert out.tolist() == [[[[90, -100, -100, 8]]]]
