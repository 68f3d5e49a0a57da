"""Counts do not depend on the order of what is counted."""

from __future__ import annotations

import numpy as np
import pytest

from furiosa.quantizer.calibrate.histogram import BINS, Histogram


def counted(*arrays: np.ndarray) -> Histogram:
    h = Histogram()
    for a in arrays:
        h.add(a)
    return h


def state(h: Histogram) -> tuple:
    return h.index.tolist(), h.counts.tolist(), h.exponent, h.low, h.high, h.zeros


def drawn(seed: int) -> list[np.ndarray]:
    """Arrays of very unlike kinds and sizes."""
    rng = np.random.default_rng(seed)
    return [
        rng.standard_normal(100_000).astype(np.float32),
        (rng.standard_cauchy(7000) * 10).astype(np.float32),
        np.maximum(rng.standard_normal((3, 500)), 0).astype(np.float32),
        np.array([1e-30, -1e-38, 3e30], np.float32) if seed % 3 == 0 else np.array([-0.0, 0.0], np.float32),
        rng.uniform(-1e-3, 1e-3, 20_000).astype(np.float32),
    ]


@pytest.mark.parametrize("seed", range(8))
def test_any_order_and_any_split_give_the_same_bins(seed: int):
    arrays = drawn(seed)
    rng = np.random.default_rng(seed + 100)
    expected = state(counted(*arrays))
    assert state(counted(*arrays[::-1])) == expected
    everything = np.concatenate([a.reshape(-1) for a in arrays])
    rng.shuffle(everything)
    assert state(counted(*np.split(everything, sorted(rng.integers(1, everything.size, 6))))) == expected
    parts = [counted(a) for a in np.array_split(everything, 5)]
    merged = Histogram()
    for i in rng.permutation(5):
        merged.merge(parts[i])
    assert state(merged) == expected


@pytest.mark.parametrize("seed", range(4))
def test_bins_hold_what_was_counted(seed: int):
    values = np.concatenate([a.reshape(-1) for a in drawn(seed)]).astype(np.float64)
    h = counted(values.astype(np.float32))
    assert (h.low, h.high, h.zeros, h.count) == (values.min(), values.max(), np.sum(values == 0), values.size)
    assert len(h.index) <= BINS
    others = np.sort(values[values != 0])
    expected = np.histogram(others, np.append(np.ldexp(h.index.astype(float), h.exponent), np.inf))[0]
    assert h.counts.tolist() == expected.tolist()
    assert np.array_equal(np.floor(np.ldexp(others, -h.exponent)), np.repeat(h.index, h.counts))


def test_few_values_are_kept_nearly_exactly():
    values = np.sort(np.random.default_rng(0).standard_normal(1000).astype(np.float32))
    h = counted(values)
    assert h.counts.tolist() == [1] * 1000
    assert np.abs(h.values - values).max() <= 2.0**-23 * np.abs(values).max()


def test_memory_does_not_grow():
    h = Histogram()
    rng = np.random.default_rng(0)
    for scale in np.geomspace(1e-6, 1e6, 40):
        h.add((rng.standard_normal(5000) * scale).astype(np.float32))
        assert len(h.index) == len(h.counts) <= BINS


def test_nothing_but_zeros():
    h = counted(np.zeros(5, np.float32))
    assert (h.low, h.high, h.zeros, h.count, len(h.index)) == (0, 0, 5, 5, 0)
