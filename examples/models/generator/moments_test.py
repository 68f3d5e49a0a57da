"""Tests of the analytic moments against the normal distribution's own integrals."""

from __future__ import annotations

from math import erf, exp, pi, sqrt

import pytest

from generator.moments import Moments


@pytest.mark.parametrize("mean", [-0.9, -0.5, -0.25, 0.0, 0.25, 0.5, 0.75, 0.9])
def test_relu_of_a_normal_distribution(mean):
    std = sqrt(1.0 - mean * mean)
    share = 0.5 * (1.0 + erf(mean / std / sqrt(2.0)))
    density = exp(-((mean / std) ** 2) / 2.0) / sqrt(2.0 * pi)
    expected = Moments(mean * share + std * density, share + mean * std * density)
    actual = Moments(mean, 1.0).relu()
    assert actual.mean == pytest.approx(expected.mean, abs=0.004)
    assert actual.mean_square == pytest.approx(expected.mean_square, abs=0.004)


def test_sum_of_independent_tensors():
    total = Moments(1.0, 5.0).plus(Moments(-2.0, 5.0))
    assert (total.mean, total.std**2) == (-1.0, pytest.approx(4.0 + 1.0))
