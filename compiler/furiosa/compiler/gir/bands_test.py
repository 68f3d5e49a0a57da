"""Bands cover an operator's output exactly, are as large as fits, and keep the granularity of a dimension."""

from __future__ import annotations

import numpy as np
import pytest

from furiosa.compiler.dfg.graph import Tensor
from furiosa.compiler.gir import bands
from furiosa.compiler.gir.form import Form, make_form
from furiosa.compiler.gir.tile import Box

SHAPE = (2, 7, 5, 12)


def _form() -> Form:
    output = Tensor("y", "int8", SHAPE)
    return make_form("FILL", output, SHAPE, lambda box: ([], {}), bands=(0, 1, 3), granularity={3: 4})


def _bytes(box: Box) -> int:
    return int(np.prod([size for _, size in box]))


@pytest.mark.parametrize("limit", [20, 21, 60, 100, 420, 500, 839, 840])
@pytest.mark.parametrize("order", bands.orders(_form()))
def test_bands_fit_and_cover(order: tuple[int, ...], limit: int) -> None:
    form = _form()
    size = bands.fitting(form, order, _bytes, limit)
    assert size is not None and np.prod(size) <= limit
    made = np.zeros(SHAPE, int)
    boxes = list(bands.boxes(SHAPE, size))
    for box in boxes:
        made[tuple(slice(at, at + n) for at, n in box)] += 1
        assert box[2] == (0, 5) and box[3][0] % 4 == 0  # never cut; cut at multiples
    assert (made == 1).all() and len(boxes) == bands.count(SHAPE, size)
    cut = [d for d in order if size[d] < SHAPE[d]]
    if cut:  # one step more of the dimension that was cut last would not fit
        step = form.granularity.get(cut[-1], 1)
        larger = [min(n + step, SHAPE[d]) if d == cut[-1] else n for d, n in enumerate(size)]
        assert np.prod(larger) > limit


def test_each_dimension_may_come_first() -> None:
    assert bands.orders(_form()) == [(0, 1, 3), (1, 0, 3), (3, 0, 1)]
    sizes = [bands.fitting(_form(), order, _bytes, 420) for order in bands.orders(_form())]
    assert sizes == [(1, 7, 5, 12), (2, 3, 5, 12), (2, 7, 5, 4)]


def test_nothing_is_small_enough() -> None:
    assert bands.fitting(_form(), (0, 1, 3), _bytes, 19) is None
