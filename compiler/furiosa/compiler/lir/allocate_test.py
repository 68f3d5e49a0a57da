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


def _largest_first_peak(lifetimes: list[Lifetime]) -> int:
    assert allocate(lifetimes, 1 << 30, ALIGNMENT, effort=0) is None
    return max(x.end(ALIGNMENT) for x in lifetimes)


def test_a_better_order_reaches_the_lower_bound() -> None:
    """Random programs of short lives, of which largest first misses the bound in many: the improvement reaches it in most."""
    missed = reached = 0
    for seed in range(60):
        rng = random.Random(seed)
        lifetimes = []
        for i in range(24):
            size = ALIGNMENT * rng.randint(1, 40)
            lifetimes.append(Lifetime(Buffer(f"b{i}", size, Space.SRAM), i, i + rng.randint(1, 4)))
        bound = peak_bytes(lifetimes)[0]
        first = _largest_first_peak(lifetimes)
        assert allocate(lifetimes, bound + first, ALIGNMENT) is None
        improved = max(x.end(ALIGNMENT) for x in lifetimes)
        assert bound <= improved <= first
        missed += first > bound
        reached += first > bound and improved == bound
    assert missed >= 20
    assert reached >= 0.9 * missed


def test_the_same_addresses_every_time() -> None:
    a, b = _random_lifetimes(3), _random_lifetimes(3)
    allocate(a, 1 << 30, ALIGNMENT)
    allocate(b, 1 << 30, ALIGNMENT)
    assert [x.address for x in a] == [x.address for x in b]


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
    assert peak_bytes(lifetimes, 1) == (170, 4)
    assert peak_bytes(lifetimes, ALIGNMENT) == (4 * ALIGNMENT, 4)


@pytest.mark.parametrize("seed", range(50))
def test_very_many_at_once_take_the_best_gap_in_the_order_of_birth(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("furiosa.compiler.lir.allocate._MOST_PAIRS", 0)
    test_live_buffers_never_overlap(seed)
    test_no_address_beyond_the_capacity(seed)


def test_buffers_of_one_size_fill_the_memory_in_the_order_of_birth(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("furiosa.compiler.lir.allocate._MOST_PAIRS", 0)
    rng = random.Random(0)
    lifetimes = [Lifetime(Buffer(f"b{i}", 512, Space.SRAM), i, i + rng.randint(0, 100)) for i in range(2000)]
    assert allocate(lifetimes, peak_bytes(lifetimes)[0], ALIGNMENT) is None


def test_more_live_buffers_than_the_bookkeeping_tells_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("furiosa.compiler.lir.allocate.MAX_LIVE", 10)
    ten = [Lifetime(Buffer(f"b{i}", 64, Space.SRAM), 0, 9) for i in range(10)]
    assert allocate(ten, 1 << 20, ALIGNMENT) is None
    last = Lifetime(Buffer("one too many", 64, Space.SRAM), 9, 9)
    assert allocate([*ten, last], 1 << 20, ALIGNMENT) is last
