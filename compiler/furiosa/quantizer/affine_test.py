"""Scale and zero point of a range."""

from __future__ import annotations

import numpy as np
import pytest

from furiosa.quantizer.affine import Affine, Range, affine, quantized


@pytest.mark.parametrize(
    "low, high", [(-1.0, 1.0), (0.0, 6.0), (-3.0, -1.0), (2.0, 5.0), (-1e-30, 1e-30), (-1e38, 3e38)]
)
def test_a_range_keeps_zero_exactly_and_its_ends_within_a_step(low: float, high: float):
    by = affine(Range(low, high))
    assert -128 <= by.zero_point <= 127
    ends = np.array([min(low, 0), 0, max(high, 0)], np.float32)
    real = (quantized(ends, by).astype(np.float64) - by.zero_point) * float(by.scale)
    assert real[1] == 0
    assert np.all(np.abs(real - ends) <= max(float(by.scale), 2.0**-100))


def test_a_range_of_zero_has_an_ordinary_scale():
    assert affine(Range(0.0, 0.0)).scale == 1


def test_what_lies_outside_goes_to_the_end_and_ties_go_to_even():
    by = Affine(np.float32(1), 0)
    values = np.array([-1000, -0.5, 0.5, 1.5, 1000], np.float32)
    assert quantized(values, by).tolist() == [-128, 0, 0, 2, 127]
