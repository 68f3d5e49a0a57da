"""Boxes for runs of elements; the numbers that cascades compute are tested in tests/end_to_end/cascade_test.py."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from furiosa.compiler.gir.spans import leading_box


@pytest.mark.parametrize("shape", [(4, 3, 2), (1, 5, 3), (2, 1, 4), (6,), (2, 2, 2, 2)])
@pytest.mark.parametrize("cut", [0, 1, 2, 4])
def test_a_leading_box_is_dense_and_has_the_elements(shape: tuple[int, ...], cut: int) -> None:
    """Only the first ``cut`` dimensions may be cut."""
    numbers = np.arange(np.prod(shape)).reshape(shape)
    for start, end in itertools.combinations(range(numbers.size + 1), 2):
        box = leading_box(shape, set(range(cut)), start, end)
        held = numbers[tuple(slice(at, at + size) for at, size in box)].reshape(-1)
        assert held[0] <= start and end - 1 <= held[-1]
        assert held.tolist() == list(range(held[0], held[-1] + 1))
        assert all(box[d] == (0, shape[d]) for d in range(cut, len(shape)) if shape[d] > 1)


def test_a_leading_box_is_small() -> None:
    """Samples are whole only where more than one is wanted, rows likewise."""
    shape = (4, 10, 3)
    assert leading_box(shape, {0, 1}, 0, 60) == ((0, 2), (0, 10), (0, 3))
    assert leading_box(shape, {0, 1}, 30, 31) == ((1, 1), (0, 1), (0, 3))
    assert leading_box(shape, {0, 1}, 34, 40) == ((1, 1), (1, 3), (0, 3))
    assert leading_box(shape, {0}, 34, 40) == ((1, 1), (0, 10), (0, 3))
    assert leading_box(shape, {0, 1}, 29, 31) == ((0, 2), (0, 10), (0, 3))
