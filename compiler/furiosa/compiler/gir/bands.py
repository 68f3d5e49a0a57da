"""Bands: an operator cut over time, where the tensors that it has in DRAM do not fit SRAM at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import prod

import numpy as np

from furiosa.compiler.gir.form import Form
from furiosa.compiler.gir.tile import Box, whole

MAX_BANDS = 1 << 16


def fitting(
    form: Form, order: tuple[int, ...], footprint: Callable[[Box], int], limit: int
) -> tuple[int, ...] | None:
    """The size of the largest bands whose footprint is at most ``limit`` bytes, cut along dimensions in this order.

    A dimension is only cut where the ones before it, cut as small as can be, are not enough.  None where nothing is enough.
    """
    shape = form.shape
    size = list(shape)

    def fits() -> bool:
        return footprint(whole(tuple(size))) <= limit

    for dim in order:
        if fits():
            break
        step = form.granularity.get(dim, 1)
        low, high = 1, -(-size[dim] // step)
        while low < high:  # the most steps that fit, by halving
            middle = (low + high + 1) // 2
            size[dim] = min(middle * step, shape[dim])
            if fits():
                low = middle
            else:
                high = middle - 1
        size[dim] = min(low * step, shape[dim])
    return tuple(size) if fits() else None


def orders(form: Form) -> list[tuple[int, ...]]:
    """The orders in which the dimensions of a form may be cut: each first, the others as the form prefers them."""
    return [(first, *(d for d in form.bands if d != first)) for first in form.bands]


def count(shape: tuple[int, ...], size: tuple[int, ...]) -> int:
    """How many bands of a size a shape has."""
    return prod(-(-d // s) for d, s in zip(shape, size))


def boxes(shape: tuple[int, ...], size: tuple[int, ...]) -> Iterator[Box]:
    """The bands in the order of the array."""
    for index in np.ndindex(*(-(-d // s) for d, s in zip(shape, size))):
        yield tuple((i * s, min(s, d - i * s)) for i, s, d in zip(index, size, shape))
