"""Coverage against a set of bytes."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from furiosa.enf import coverage
from furiosa.enf.coverage import Coverage, Effort
from furiosa.enf.errors import EnfVerifyError
from furiosa.enf.machine import Region, Space
from furiosa.enf.testing.programs import sram

SIZE = 96


def touched(r: Region, itemsize: int) -> set[int]:
    """The bytes of a region, one by one."""
    out = set()
    for index in itertools.product(*map(range, r.shape)):
        at = r.address + sum(i * s for i, s in zip(index, r.strides))
        out |= set(range(at, at + itemsize))
    return out


@st.composite
def regions(draw) -> tuple[Region, set[int]]:
    """Any region within SIZE bytes, of up to three dimensions, overlapping itself or not."""
    dtype, itemsize = draw(st.sampled_from([("int8", 1), ("int16", 2)]))
    shape, strides, extent = [], [], itemsize
    for _ in range(draw(st.integers(0, 3))):
        stride = itemsize * draw(st.integers(0, 12))
        most = (SIZE - extent) // stride + 1 if stride else 3
        d = draw(st.integers(1, min(most, 6)))
        extent += (d - 1) * stride
        shape.append(d)
        strides.append(stride)
    order = draw(st.permutations(range(len(shape))))
    address = draw(st.integers(0, SIZE - extent))
    r = Region(Space.SRAM, dtype, address, tuple(shape[i] for i in order), tuple(strides[i] for i in order))
    return r, touched(r, itemsize)


@settings(max_examples=600, deadline=None)
@given(st.lists(regions(), max_size=8), st.lists(regions(), min_size=1, max_size=4))
def test_against_a_set_of_bytes(writes, reads):
    c, written = Coverage(0, SIZE), set()
    for i, (r, its) in enumerate(writes):
        c.add_region(r)
        written |= its
        for asked, wanted in (*reads, (r, its), *writes[:i]):
            start, end = asked.address, asked.address + asked.extent
            assert c.has(asked, start, end, Effort()) == (wanted <= written)


@settings(max_examples=300, deadline=None)
@given(regions())
def test_runs_are_the_bytes_of_the_region(region):
    r, its = region
    first, last, pattern = coverage.runs(r)
    out = set()
    for index in itertools.product(*(range(count) for count, _ in pattern)):
        at = sum(i * step for i, (_, step) in zip(index, pattern))
        out |= set(range(first + at, last + at))
    assert out == its


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 40), st.integers(1, 10)), max_size=30))
def test_intervals_stay_disjoint_and_ascending(pieces):
    intervals, its = [], set()
    for start, size in pieces:
        joined = coverage.insert(intervals, start, start + size)
        its |= set(range(start, start + size))
        assert joined in intervals and joined[0] <= start and start + size <= joined[1]
    assert {b for s, e in intervals for b in range(s, e)} == its
    assert all(a[1] < b[0] for a, b in itertools.pairwise(intervals))


def test_a_concatenation_needs_no_map():
    """Parts along the last dimension, in any order, grow into the whole: nothing is spent."""
    pixels, channels = 49, 24
    parts = [(16, 8), (0, 5), (5, 11)]
    c = Coverage(0, pixels * channels)
    whole = sram(0, 1, 7, 7, channels)
    for start, size in parts:
        assert not c.has(whole, 0, pixels * channels, Effort())
        c.add_region(sram(start, 1, 7, 7, size, strides=(0, 7 * channels, channels, 1)))
    assert c.has(whole, 0, pixels * channels, Effort(0))
    assert not c.strided


def test_a_transpose_needs_no_map():
    c = Coverage(0, 24)
    c.add_region(sram(0, 4, 3, 2, strides=(1, 8, 4)))
    assert c.dense == [(0, 24)]


def test_what_took_effort_is_remembered():
    """Rows written by halves, then read by columns: the first question needs a map, the second does not."""
    c = Coverage(0, 64)
    for start in (0, 4, 32, 36):
        c.add_region(sram(start, 4, 2, strides=(8, 1)))
    columns = sram(0, 8, 2, strides=(8, 1))
    with pytest.raises(EnfVerifyError, match="too scattered"):
        c.has(columns, 0, 58, Effort(0))
    assert c.has(columns, 0, 58, Effort())
    assert c.has(columns, 0, 58, Effort(0))


def test_effort_is_spent_by_bytes_and_by_pieces():
    c = Coverage(0, 1 << 16)
    for i in range(100):
        c.add_region(sram(64 * i, 4, strides=(5 + i,)))
    effort = Effort()
    assert not c.has(sram(0, 1 << 16), 0, 1 << 16, effort)
    assert coverage.MAX_MAPPED - effort.left >= (1 << 16) + 100 * coverage.PER_VIEW
