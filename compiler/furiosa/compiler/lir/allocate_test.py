"""Addresses: no two live buffers overlap, everything is aligned and below the capacity."""

from __future__ import annotations

import random

import pytest

from furiosa.compiler.gir.tile import Buffer
from furiosa.compiler.lir.allocate import Lifetime, allocate, peak_bytes
from furiosa.enf.isa import Space

ALIGNMENT = 64


def _random_lifetimes(seed: int) -> list[Lifetime]:
    rng = random.Random(seed)
    out = []
    for i in range(rng.randint(1, 60)):
        first = rng.randint(0, 50)
        size = rng.choice([1, 63, 64, 65, 1000, 4096, 70000])
        out.append(Lifetime(Buffer(f"b{i}", size, Space.SRAM), first, first + rng.randint(0, 12)))
    return out


@pytest.mark.parametrize("seed", range(50))
def test_live_buffers_never_overlap(seed: int) -> None:
    lifetimes = _random_lifetimes(seed)
    assert allocate(lifetimes, 1 << 30, ALIGNMENT) is None
    for i, a in enumerate(lifetimes):
        assert a.address >= 0 and a.address % ALIGNMENT == 0
        for b in lifetimes[:i]:
            if a.first <= b.last and b.first <= a.last:
                assert a.address + a.buffer.size <= b.address or b.address + b.buffer.size <= a.address


@pytest.mark.parametrize("seed", range(50))
def test_no_address_beyond_the_capacity(seed: int) -> None:
    lifetimes = _random_lifetimes(seed)
    capacity = peak_bytes(lifetimes)[0]
    failed = allocate(lifetimes, capacity, ALIGNMENT)
    placed = [x for x in lifetimes if x.address >= 0]
    assert all(x.address + x.buffer.size <= capacity for x in placed)
    assert (failed is None) == (len(placed) == len(lifetimes))


def test_what_cannot_fit_is_named() -> None:
    large = Lifetime(Buffer("large", 200, Space.SRAM), 0, 1)
    assert allocate([large, Lifetime(Buffer("small", 10, Space.SRAM), 0, 1)], 100, ALIGNMENT) is large


def test_memory_is_used_again() -> None:
    a, b = (Lifetime(Buffer(n, 100, Space.SRAM), t, t) for n, t in (("a", 0), ("b", 1)))
    assert allocate([a, b], 100, ALIGNMENT) is None
    assert a.address == b.address == 0


def test_peak_is_the_most_that_lives_at_once() -> None:
    lifetimes = [
        Lifetime(Buffer("a", 100, Space.SRAM), 0, 5),
        Lifetime(Buffer("b", 50, Space.SRAM), 2, 3),
        Lifetime(Buffer("c", 70, Space.SRAM), 4, 4),
    ]
    assert peak_bytes(lifetimes) == (170, 4)
