"""Distances in LSB, and tallies of them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from furiosa.runtime.compare.difference import Example, Tally, differing, distance


def _one(a: object, b: object, dtype: str, unit: float | None = None) -> int:
    [apart] = distance(np.array([a], dtype), np.array([b], dtype), unit)
    return int(apart)


@pytest.mark.parametrize(
    ("a", "b", "dtype", "apart"),
    [
        (-128, 127, "int8", 255),
        (255, 0, "uint8", 255),
        (True, False, "bool", 1),
        (-(2**63), 2**63 - 1, "int64", 2**64 - 1),
        (0, 2**64 - 1, "uint64", 2**64 - 1),
        (1.0, np.nextafter(np.float32(1), np.float32(2)), "float32", 1),
        (0.0, -0.0, "float32", 0),
        (-(2.0**-149), 2.0**-149, "float32", 2),
        (65504.0, np.inf, "float16", 1),
        (-np.inf, np.inf, "float64", 2 * 0x7FF0_0000_0000_0000),
    ],
)
def test_distance(a: object, b: object, dtype: str, apart: int) -> None:
    assert _one(a, b, dtype) == _one(b, a, dtype) == apart


@given(st.integers(-128, 127), st.integers(-128, 127), st.floats(2.0**-20, 64, width=32))
@settings(max_examples=200, deadline=None)
def test_floats_of_a_scale_count_in_its_steps(a: int, b: int, scale: float) -> None:
    x, y = np.float32(scale) * np.float32(a), np.float32(scale) * np.float32(b)
    assert _one(x, y, "float32", scale) == abs(a - b)


def test_a_difference_below_one_step_is_one() -> None:
    assert _one(1.0, np.nextafter(np.float32(1), np.float32(2)), "float32", 0.5) == 1
    assert _one(np.inf, 1.0, "float32", 0.5) > 1 << 20
    assert _one(np.nan, 1.0, "float32", 0.5) > 1 << 20


def test_nan_equals_nan_and_zero_minus_zero() -> None:
    a = np.array([np.nan, 0.0, 1.0, np.nan], np.float32)
    b = np.array([np.nan, -0.0, 2.0, 1.0], np.float32)
    assert differing(a, b).tolist() == [2, 3]


def test_a_tally_of_two_inputs() -> None:
    tally = Tally()
    zero = np.zeros((2, 4), np.int8)
    tally.add(zero, zero, None, 0)
    assert (tally.elements, tally.differing, tally.largest, tally.example) == (8, 0, 0, None)
    tally.add(np.array([[0, 1, 2, 3], [4, 5, 8, -9]], np.int8), zero, None, 1)
    assert (tally.elements, tally.differing, tally.largest) == (16, 7, 9)
    assert tally.histogram() == [(0, 0, 9), (1, 1, 1), (2, 2, 1), (3, 4, 2), (5, 8, 2), (9, 16, 1)]
    assert tally.example == Example(1, (0, 1), 1, 0)


@given(st.lists(st.integers(-(2**31), 2**31 - 1), min_size=1, max_size=30), st.randoms())
@settings(max_examples=100, deadline=None)
def test_a_histogram_counts_every_element_once(values: list[int], random: object) -> None:
    ours = np.array(values, np.int32)
    theirs = np.array([random.choice(values) for _ in values], np.int32)
    tally = Tally()
    tally.add(ours, theirs, None, 0)
    apart = [abs(a - b) for a, b in zip(values, theirs.tolist())]
    for low, high, n in tally.histogram():
        assert n == sum(low <= x <= high for x in apart)
    assert tally.largest == max(apart)
