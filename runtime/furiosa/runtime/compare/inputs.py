"""The inputs of a comparison that is given none: random ones that reach all of the quantised range."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from furiosa.runtime.tensor import TensorDesc

RANDOM = 3  # inferences where no inputs are given


def random_inputs(
    descs: Sequence[TensorDesc], ranges: Sequence[tuple[float, float] | None], seed: int
) -> Iterator[list[np.ndarray]]:
    """``RANDOM`` sets of arrays that depend on the seed alone.

    An input with a range is uniform over it, any other real one over [-1, 1); any other integer is 0 or 1, which is right
    for masks and flags and no index out of bounds.
    """
    for number in range(RANDOM):
        generator = np.random.default_rng([seed, number])
        yield [_random(d, r, generator) for d, r in zip(descs, ranges, strict=True)]


def _random(
    desc: TensorDesc, limits: tuple[float, float] | None, generator: np.random.Generator
) -> np.ndarray:
    dtype = desc.numpy_dtype
    if dtype.kind == "f":
        low, high = limits or (-1.0, 1.0)
        return generator.uniform(low, high, desc.shape).astype(dtype)
    low, high = (int(limits[0]), int(limits[1])) if limits else (0, 1)
    return generator.integers(low, high, desc.shape, endpoint=True).astype(dtype)
