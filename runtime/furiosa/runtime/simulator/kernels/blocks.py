"""Cutting arrays into pieces that stay in a processor's cache."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

BLOCK = 1 << 16  # elements: a few float32 temporaries of this size fit a second-level cache


def blocks(*arrays: np.ndarray) -> Iterator[tuple[np.ndarray, ...]]:
    """Matching pieces, of about BLOCK elements, of arrays of one shape."""
    if all(a.flags.c_contiguous for a in arrays):
        arrays = tuple(a.reshape(-1) for a in arrays)
    yield from _cut(arrays)


def _cut(arrays: tuple[np.ndarray, ...]) -> Iterator[tuple[np.ndarray, ...]]:
    shape = arrays[0].shape
    if arrays[0].size <= BLOCK or not shape:
        yield arrays
        return
    rest = arrays[0].size // shape[0]
    if rest > BLOCK:
        for i in range(shape[0]):
            yield from _cut(tuple(a[i] for a in arrays))
        return
    step = BLOCK // rest
    for start in range(0, shape[0], step):
        yield tuple(a[start : start + step] for a in arrays)
