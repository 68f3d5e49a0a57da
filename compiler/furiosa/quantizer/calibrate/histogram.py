"""A count of float32 values that grows with what it sees, and whose end does not depend on the order of the values, bit by bit.

A bin holds the values from ``index * 2**exponent`` up to the next.  The width is the smallest of which no more than BINS bins
hold values, and not below 2**-24 of the largest value.  A bin of twice the width is two bins of the width before, so to count and then to widen is to widen and then to count;
more values never need narrower bins; and so neither the order of samples nor how they are split over processes shows.
"""

from __future__ import annotations

import math

import numpy as np

BINS = 4096  # that hold values; a step of int8 spans at least 16 of them where the values are spread evenly
_PRECISION = 24  # bits of a float32 number
_PIECE = (
    1 << 16
)  # values that are counted at once: the first of them already tell how wide bins must be at least
_DENSE = 1 << 20  # a span of bins that is counted without sorting
_LEAST = -149  # exponent of the smallest float32 number


class Histogram:
    """Counts of values.

    ``index`` int64 [n], ascending, n <= BINS; ``counts`` int64 [n], each at least 1; ``exponent`` of the bins' width; ``low`` and
    ``high`` the smallest and the largest value, exactly.  Zeros, which every range holds exactly, are in no bin: there are ``zeros``.
    """

    __slots__ = ("counts", "exponent", "high", "index", "low", "zeros")

    def __init__(self) -> None:
        self.index = np.zeros(0, np.int64)
        self.counts = np.zeros(0, np.int64)
        self.exponent = _LEAST - _PRECISION
        self.low, self.high = math.inf, -math.inf
        self.zeros = 0

    @property
    def count(self) -> int:
        """The number of values, zeros included."""
        return int(self.counts.sum()) + self.zeros

    @property
    def values(self) -> np.ndarray:
        """float64 [n], ascending: what stands for the values of each bin, its middle, but nothing outside of ``low`` and ``high``."""
        return np.clip(np.ldexp(self.index + 0.5, self.exponent), self.low, self.high)

    def add(self, values: np.ndarray) -> None:
        """Counts finite float32 values of any shape."""
        values = values.reshape(-1)
        for start in range(0, values.size, _PIECE):
            piece = values[start : start + _PIECE].astype(np.float64)
            self._extend(float(piece.min()), float(piece.max()))
            others = piece[piece != 0]
            self.zeros += piece.size - others.size
            if others.size:
                index = np.floor(np.ldexp(others, -self.exponent)).astype(np.int64)
                self._insert(*_counted(index))

    def merge(self, other: Histogram) -> None:
        """Counts what another one has counted."""
        if not other.count:
            return
        self.zeros += other.zeros
        self._extend(other.low, other.high)
        self._widen(max(self.exponent, other.exponent))
        self._insert(other.index >> (self.exponent - other.exponent), other.counts)

    def _extend(self, low: float, high: float) -> None:
        # of the two zeros none shows which came first
        self.low, self.high = min(self.low, low) + 0.0, max(self.high, high) + 0.0
        largest = max(-self.low, self.high)
        exponent = math.frexp(largest)[1] if largest else _LEAST
        self._widen(max(self.exponent, exponent - _PRECISION))

    def _widen(self, exponent: int) -> None:
        if exponent > self.exponent:
            self.index, self.counts = _merged(self.index >> min(exponent - self.exponent, 63), self.counts)
            self.exponent = exponent

    def _insert(self, index: np.ndarray, counts: np.ndarray) -> None:
        index, counts = np.concatenate([self.index, index]), np.concatenate([self.counts, counts])
        order = np.argsort(index, kind="stable")
        self.index, self.counts = _merged(index[order], counts[order])
        while self.index.size > BINS:
            self._widen(self.exponent + 1)


def _counted(index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Ascending indices, each once, with how often they come."""
    first, last = int(index.min()), int(index.max())
    if last - first < _DENSE:
        counts = np.bincount(index - first)
        filled = np.flatnonzero(counts)
        return filled + first, counts[filled].astype(np.int64)
    return np.unique(index, return_counts=True)


def _merged(index: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The same of ascending indices of which some are equal."""
    if not index.size:
        return index, counts
    starts = np.flatnonzero(np.concatenate([[True], index[1:] != index[:-1]]))
    return index[starts], np.add.reduceat(counts, starts)
