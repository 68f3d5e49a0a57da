"""Multiplication and addition with one rounding, in float32."""

from __future__ import annotations

import numpy as np

_REST = 0x1FFFFFFF  # what a float64 has more than a float32
_HALF = 0x10000000  # of the last place of a float32


def multiply_add(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    """float32 a * b + c of float32 arrays that broadcast, rounded once.

    The product is exact in float64.  Where the sum rounded to float64 lies halfway between two float32 numbers, it is moved to the
    side of the true sum, so that the second rounding goes the right way.
    """
    product = a.astype(np.float64) * b
    total = np.atleast_1d(product + c)
    halfway = (total.view(np.int64) & _REST) == _HALF
    if halfway.any():
        at = np.nonzero(halfway)
        p, s = np.broadcast_to(product, total.shape)[at], total[at]
        addend = np.broadcast_to(c, total.shape)[at].astype(np.float64)
        added = s - p
        rest = (p - (s - added)) + (addend - added)  # what the sum lost, exactly
        total[at] = np.where(rest == 0, s, np.nextafter(s, np.where(rest > 0, np.inf, -np.inf)))
    return total.astype(np.float32)
