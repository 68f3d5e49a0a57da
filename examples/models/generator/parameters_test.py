"""Tests of the deterministic parameters."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from generator.moments import Moments
from generator.parameters import BATCH_NORM_EPSILON, Parameters, bell, uniform


def _parameters(batch_norm=True, centred=False, input_moments=None):
    moments = input_moments or Moments(0.4, 0.5)
    return Parameters("test/layer", (64, 32, 3, 3), moments, 1.5, 0.25, batch_norm, centred)


def test_bell_is_a_centred_bell():
    values = bell("key", 200_000).astype(np.float64)
    assert abs(values.mean()) < 1.5
    assert values.std() == pytest.approx(147.8, rel=0.01)
    assert -510 <= values.min() < -400 and 400 < values.max() <= 510


def test_bytes_are_the_same_on_every_machine():
    weights = _parameters(centred=True).weights()
    assert hashlib.sha256(weights.tobytes()).hexdigest().startswith("98e84d89fffa78ef")
    assert bell("key", 4).tolist() == [63, 53, -48, 30]
    assert uniform("key", 2, -1.0, 1.0).tolist() == [-0.035888671875, -0.651519775390625]


def test_keys_differ():
    assert not np.array_equal(bell("a", 16), bell("b", 16))


@pytest.mark.parametrize("batch_norm", [True, False])
@pytest.mark.parametrize("centred", [True, False])
def test_output_has_the_wanted_std(batch_norm, centred):
    parameters = _parameters(batch_norm, centred)
    random = np.random.default_rng(0)
    x = np.maximum(random.standard_normal((2000, 288)), 0.0)
    weights, bias = parameters.folded()
    y = x @ weights.reshape(64, 288).T + bias
    assert y.mean() == pytest.approx(parameters.mean, abs=0.3)
    assert y.std(axis=0).mean() == pytest.approx(parameters.std, rel=0.25)


def test_centred_filters_sum_to_zero():
    weights = _parameters(centred=True).weights()
    assert np.abs(weights.sum(axis=(1, 2, 3), dtype=np.float64)).max() < 1e-4
    assert np.abs(_parameters().weights().sum(axis=(1, 2, 3), dtype=np.float64)).max() > 0.1


def test_folding_keeps_the_function():
    parameters = _parameters()
    scale, bias, mean, var = (v.astype(np.float64) for v in parameters.normalization())
    x = np.random.default_rng(0).standard_normal(288)
    sums = parameters.weights().reshape(64, 288).astype(np.float64) @ x
    folded_weights, folded_bias = parameters.folded()
    expected = scale * (sums - mean) / np.sqrt(var + BATCH_NORM_EPSILON) + bias
    actual = folded_weights.reshape(64, 288).astype(np.float64) @ x + folded_bias
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-5)
