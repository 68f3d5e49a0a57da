"""Clocks, buffers and memories: what must be waited for, against a plain account of every access."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from furiosa.enf import hazards
from furiosa.enf.errors import EnfVerifyError
from furiosa.enf.hazards import ZERO, Buffer, Clocks, Memory, Overlap, Past, covers, join
from furiosa.enf.machine import Engine
from furiosa.enf.testing.programs import sram

LOAD, STORE, PE = range(Engine.COUNT)

clocks = st.tuples(*[st.integers(0, 5)] * Engine.COUNT)


@given(clocks, clocks, clocks)
def test_join_is_the_least_that_covers_both(a, b, c):
    j = join(a, b)
    assert covers(j, a) and covers(j, b)
    assert covers(c, j) == (covers(c, a) and covers(c, b))


def test_what_a_wait_implies():
    """load 1 <- pe 1 <- store 1: who waits for the store has waited for all of them."""
    c = Clocks()
    assert c.issue(LOAD, c.at_start(LOAD, ZERO)) == 1
    assert c.issue(PE, c.at_start(PE, (1, 0, 0))) == 1
    assert c.issue(STORE, c.at_start(STORE, (0, 0, 1))) == 1
    assert c.at_start(LOAD, (0, 1, 0)) == (1, 1, 1)
    assert c.at_start(LOAD, ZERO) == (1, 0, 0), "its predecessor on the engine has ended"


def test_a_barrier_ends_everything():
    c = Clocks()
    for engine in (LOAD, LOAD, PE):
        c.issue(engine, c.at_start(engine, ZERO))
    assert c.at_start(STORE, ZERO) == ZERO
    c.barrier()
    assert c.at_start(STORE, ZERO) == (2, 0, 1)


def test_reads_wait_for_writes_and_writes_for_both():
    b = Buffer("b", 0, 100)
    b.write(LOAD, 1, 0, 50, sram(0, 50))
    b.write(LOAD, 2, 50, 100, sram(50, 50))
    b.read(PE, 1, 0, 10)
    assert b.needed_to_read(ZERO, 0, 50) == (1, 0, 0)
    assert b.needed_to_read(ZERO, 49, 51) == (2, 0, 0)
    assert b.needed_to_read((2, 0, 0), 0, 100) == ZERO
    assert b.needed_to_write(ZERO, 0, 10) == (1, 0, 1)
    assert b.needed_to_write(ZERO, 10, 50) == (1, 0, 0)
    assert b.needed_to_write((2, 0, 1), 0, 100) == ZERO


def test_a_new_buffer_waits_for_the_dead():
    m = Memory("m", 100)
    old = m.open("old", 0, 60)
    old.write(LOAD, 1, 0, 60, sram(0, 60))
    old.read(PE, 1, 0, 60)
    m.close(old)
    assert m.open("apart", 60, 40).needed_to_write(ZERO, 60, 100) == ZERO
    assert m.open("new", 0, 20).needed_to_write(ZERO, 0, 20) == (1, 0, 1)
    assert m.open("newer", 59, 1).needed_to_write(ZERO, 59, 60) == (1, 0, 1)


def test_the_dead_of_the_dead_count():
    """A buffer that nobody touched orders nothing: who comes next waits for what was there before it."""
    m = Memory("m", 10)
    old = m.open("old", 0, 10)
    old.read(PE, 7, 0, 10)
    m.close(old)
    m.close(m.open("untouched", 0, 10))
    assert m.open("new", 0, 10).needed_to_write(ZERO, 0, 10) == (0, 0, 7)


@pytest.mark.parametrize(
    ("address", "size"),
    [(0, 0), (0, 101), (100, 1), (101, 0), (2**64 - 1, 1), (1, 2**64 - 1), (2**64 - 1, 2**64 - 1)],
)
def test_outside_the_memory(address, size):
    with pytest.raises(Overlap, match="not within the 100 bytes"):
        Memory("m", 100).open("b", address, size)


@pytest.mark.parametrize(("address", "size"), [(10, 10), (0, 11), (19, 1), (12, 2), (0, 100), (19, 50)])
def test_overlapping(address, size):
    m = Memory("m", 100)
    m.open("a", 10, 10)
    with pytest.raises(Overlap, match="'a' and 'b' overlap"):
        m.open("b", address, size)


def test_touching_is_not_overlapping():
    m = Memory("m", 100)
    a = m.open("a", 10, 10)
    m.open("b", 0, 10)
    c = m.open("c", 20, 80)
    assert (m.find(10, 20), m.find(19, 20), m.find(20, 100)) == (a, a, c)
    assert m.find(19, 21) is None and m.find(99, 101) is None


def test_too_many_live(monkeypatch):
    monkeypatch.setattr(hazards, "MAX_LIVE", 2)
    m = Memory("m", 100)
    m.open("a", 0, 1)
    m.close(m.open("b", 1, 1))
    m.open("c", 2, 1)
    with pytest.raises(EnfVerifyError, match="more than 2 buffers"):
        m.open("d", 3, 1)


@st.composite
def histories(draw) -> list[tuple[int, int, tuple[int, ...]]]:
    return draw(st.lists(st.tuples(st.integers(0, 30), st.integers(1, 12), clocks), max_size=25))


@settings(max_examples=150, deadline=None)
@given(histories(), st.sampled_from([1, 3, 5, 40]))
def test_the_past_of_every_byte(history, most):
    """Byte by byte; where pieces were merged, later than needed and never earlier."""
    past, plain = Past(), [ZERO] * 64
    limit, hazards.MAX_PAST = hazards.MAX_PAST, most
    try:
        for start, size, clock in history:
            joined = join(past.clock(start, start + size), clock)
            past.add(start, start + size, joined)
            for i in range(start, start + size):
                plain[i] = joined
    finally:
        hazards.MAX_PAST = limit
    assert len(past._pieces) <= most + 2
    for start in range(0, 64, 3):
        for end in range(start + 1, 64, 2):
            wanted = ZERO
            for c in plain[start:end]:
                wanted = join(wanted, c)
            assert covers(past.clock(start, end), wanted)
            if most > 30:
                assert past.clock(start, end) == wanted


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.tuples(st.booleans(), st.integers(0, Engine.COUNT - 1), st.integers(0, 50), st.integers(1, 20)),
        max_size=60,
    ),
    st.sampled_from([16, 1000]),
    st.integers(0, 60),
    st.integers(1, 10),
)
def test_what_must_be_waited_for(accesses, most, start, size):
    """Against the list of all accesses: exact while they are told apart, and never too little when merged."""
    b, indexes, plain = Buffer("b", 0, 80), [0] * Engine.COUNT, []
    limit, hazards.MAX_ACCESSES = hazards.MAX_ACCESSES, most
    try:
        for is_write, engine, at, n in accesses:
            indexes[engine] += 1
            if is_write:
                b.write(engine, indexes[engine], at, at + n, sram(at, n))
            else:
                b.read(engine, indexes[engine], at, at + n)
            plain.append((is_write, engine, indexes[engine], at, at + n))
    finally:
        hazards.MAX_ACCESSES = limit
    end = start + size
    for_read, for_write = [0] * Engine.COUNT, [0] * Engine.COUNT
    for is_write, engine, index, s, e in plain:
        if s < end and start < e:
            for_write[engine] = index
            if is_write:
                for_read[engine] = index
    got = b.needed_to_read(ZERO, start, end), b.needed_to_write(ZERO, start, end)
    assert covers(got[0], for_read) and covers(got[1], for_write)
    if most == 1000:
        assert got == (tuple(for_read), tuple(for_write))
    else:
        assert len(b.reads) <= most and len(b.writes) <= most
