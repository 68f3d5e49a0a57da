"""Taking the samples of a batch apart, and joining them."""

from __future__ import annotations

import numpy as np
import pytest

from furiosa.runtime.compare.samples import samples


@pytest.mark.parametrize(
    ("single", "whole", "outer", "first"),
    [
        ((2, 3), (8, 3), 1, [0, 0, 1, 1, 2, 2, 3, 3]),
        ((2, 3), (2, 12), 1, [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3]),
        ((2, 3), (8, 3), 2, [0, 1, 2, 3, 0, 1, 2, 3]),  # rows of time, each with all samples
        ((6, 1), (24, 1), 3, [0, 0, 1, 1, 2, 2, 3, 3] * 3),
    ],
)
def test_samples_lie_where_they_belong(single: tuple, whole: tuple, outer: int, first: list[int]) -> None:
    layout = samples(single, whole, 4, outer)
    parts = [np.full(single, i) + 10 * np.arange(np.prod(single)).reshape(single) for i in range(4)]
    joined = layout.join(parts)
    assert joined.shape == whole
    along = 0 if single[0] != whole[0] else 1
    assert (np.moveaxis(joined, along, 0)[:, 0] % 10).tolist() == first
    for i, part in enumerate(parts):
        np.testing.assert_array_equal(layout.take(joined, i), part)


def test_what_is_the_same_for_all_samples_and_what_is_none() -> None:
    same = samples((2, 3), (2, 3), 4)
    x = np.arange(6).reshape(2, 3)
    assert same.take(x, 3) is x and same.join([x] * 4) is x
    assert samples((2, 3), (3, 8), 4) is None
    assert samples((2, 3), (2, 3, 4), 4) is None
    assert samples((2, 3), (4, 3), 4) is None
