"""Where a tensor of a batch has its samples, to take them apart and to join them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class Samples(NamedTuple):
    """A tensor of shape ``whole`` holds ``count`` tensors of shape ``single``: seen as [ahead, count, rest], one for each place of
    the middle dimension.  With a count of 1 it is the same for every sample.
    """

    single: tuple[int, ...]
    whole: tuple[int, ...]
    ahead: int
    count: int

    def take(self, array: np.ndarray, number: int) -> np.ndarray:
        """One sample, of shape ``single``."""
        if self.count == 1:
            return array
        return array.reshape(self.ahead, self.count, -1)[:, number].reshape(self.single)

    def join(self, parts: Sequence[np.ndarray]) -> np.ndarray:
        """The tensor of all samples, of shape ``whole``."""
        if self.count == 1:
            return parts[0]
        return np.stack([p.reshape(self.ahead, -1) for p in parts], 1).reshape(self.whole)


def samples(
    single: tuple[int, ...], whole: tuple[int, ...], batch_size: int, outer: int = 1
) -> Samples | None:
    """How ``whole`` holds a batch; None where no dimension is ``batch_size`` times as large as that of ``single``.

    ``outer``: of the dimension's elements, how many groups have all samples each: 1 where the samples follow one another.
    """
    if single == whole:
        return Samples(single, whole, 1, 1)
    if len(single) == len(whole):
        axes = [i for i, (a, b) in enumerate(zip(single, whole, strict=True)) if a != b]
        if len(axes) == 1 and single[axes[0]] * batch_size == whole[axes[0]]:
            return Samples(single, whole, math.prod(single[: axes[0]]) * outer, batch_size)
    return None
