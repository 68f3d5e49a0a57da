"""The tree against counting, and how much it looks at."""

from __future__ import annotations

import random

from furiosa.compiler.gir.pressure import Pressure
from furiosa.compiler.gir.storage import Storage, live_bytes


def _drawn(rng: random.Random, count: int) -> list[Storage]:
    places = [
        sorted((rng.randrange(count), rng.randrange(count))) for _ in range(rng.randrange(1, 3 * count))
    ]
    return [Storage(f"t{i}", rng.choice((64, 64, 100, 4096)), *place) for i, place in enumerate(places)]


def test_it_says_what_counting_says() -> None:
    for seed in range(60):
        rng = random.Random(seed)
        count = rng.randrange(1, 40)
        tensors = _drawn(rng, count)
        pressure = Pressure(tensors, count)
        while tensors:
            live = live_bytes(tensors, 0, count - 1)
            assert pressure.worst() == (live.index(max(live)), max(live))
            place = rng.randrange(count)
            here = [s for s in tensors if s.first <= place <= s.last]
            assert pressure.largest(place) is max(here, key=lambda s: s.size, default=None)
            gone = rng.choice(tensors)
            tensors.remove(gone)
            pressure.spill(gone)
        assert pressure.worst() == (0, 0)
        assert all(pressure.largest(place) is None for place in range(count))


def test_live_bytes_of_a_part() -> None:
    tensors = [Storage("a", 10, 0, 3), Storage("b", 1, 2, 2), Storage("c", 100, 5, 9)]
    assert live_bytes(tensors, 2, 6) == [11, 10, 0, 100, 100]
