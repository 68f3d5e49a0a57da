"""Hypothesis strategies: quantisation, shapes, values, and machines that force tiles and splits."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from hypothesis import strategies as st

from furiosa.enf.target import TARGETS
from tests.properties.harness import Machine

DTYPES = ("int8", "uint8")
SRAM = (None, 64 << 10, 12 << 10)


class Quantization(NamedTuple):
    """Element type, scale (a float32) and zero point of a tensor: the fields of both formats' `Operand`, in order."""

    dtype: str
    scale: float
    zero_point: int


def machines(sram: tuple[int | None, ...] = SRAM) -> st.SearchStrategy[Machine]:
    """Both targets, with their own SRAM or with so few bytes that tensors of `big_shapes` do not fit; work split or not."""
    return st.builds(Machine, st.sampled_from(TARGETS), st.sampled_from(sram), st.booleans())


def _drawn(function: Callable[[np.random.Generator], Any]) -> st.SearchStrategy[Any]:
    """What the function draws: Hypothesis itself is fond of the least of everything, and of what it has had before."""
    return seeds().map(lambda seed: function(np.random.default_rng(seed)))


def scales(low: float = 2.0**-8, high: float = 1.0) -> st.SearchStrategy[float]:
    """float32 scales; half of them powers of two or 1.5 times one, which make ties."""
    exponents = range(math.ceil(math.log2(low)), math.floor(math.log2(high)) + 1)
    simple = [s for e in exponents for s in (2.0**e, 1.5 * 2.0**e) if s <= high]

    def draw(rng: np.random.Generator) -> float:
        if simple and rng.random() < 0.5:
            return float(rng.choice(simple))
        scale = np.float32(math.exp(rng.uniform(math.log(low), math.log(high))))
        return float(np.clip(scale, np.float32(low), np.float32(high)))

    return _drawn(draw)


def zero_points(dtype: str) -> st.SearchStrategy[int]:
    """Zero points of the type; the ends and the middle are frequent."""
    info = np.iinfo(dtype)
    special = (info.min, (info.min + info.max + 1) // 2, info.max)
    return _drawn(
        lambda rng: int(
            rng.choice(special) if rng.random() < 0.5 else rng.integers(info.min, info.max, endpoint=True)
        )
    )


def quantizations(
    dtypes: tuple[str, ...] = DTYPES, low: float = 2.0**-8, high: float = 1.0
) -> st.SearchStrategy[Quantization]:
    """Quantisation of one tensor. Tensors of one operator mostly share the type: draw that first."""
    return st.sampled_from(dtypes).flatmap(
        lambda dtype: st.builds(Quantization, st.just(dtype), scales(low, high), zero_points(dtype))
    )


def together(count: int, dtypes: tuple[str, ...] = DTYPES, **limits: float) -> st.SearchStrategy[tuple]:
    """`count` quantisations of one type, e.g. of two inputs and an output."""
    return st.sampled_from(dtypes).flatmap(
        lambda dtype: st.tuples(*[quantizations((dtype,), **limits)] * count)
    )


def shapes(
    min_rank: int, max_rank: int, max_side: int = 9, max_elements: int = 4096
) -> st.SearchStrategy[tuple[int, ...]]:
    """Small shapes; sizes of 1 and odd sizes are frequent."""

    def draw(rng: np.random.Generator) -> tuple[int, ...]:
        rank = int(rng.integers(min_rank, max_rank, endpoint=True))
        sides = rng.integers(1, max_side, rank, endpoint=True)
        sides = np.where(rng.random(rank) < 1 / 6, 1, sides).tolist()
        while math.prod(sides) > max_elements:
            sides[sides.index(max(sides))] //= 2
        return tuple(sides)

    return _drawn(draw)


def big_shapes(
    rank: int, min_elements: int = 24 << 10, max_elements: int = 96 << 10
) -> st.SearchStrategy[tuple[int, ...]]:
    """Shapes that exceed the small SRAM sizes of `machines`: the elements are dealt out over all dimensions unevenly."""

    def deal(elements: int, cuts: list[float]) -> tuple[int, ...]:
        shape = []
        for cut in cuts:
            side = max(1, round(elements**cut))
            shape.append(side)
            elements = max(1, elements // side)
        return (*shape, elements)

    cuts = st.lists(st.sampled_from((0.0, 0.2, 0.5, 0.7)), min_size=rank - 1, max_size=rank - 1)
    return st.builds(deal, st.integers(min_elements, max_elements), cuts)


def any_shapes(min_rank: int, max_rank: int) -> st.SearchStrategy[tuple[int, ...]]:
    """Small shapes, and one in four big."""
    small, big = shapes(min_rank, max_rank), st.integers(min_rank, max_rank).flatmap(big_shapes)
    return st.sampled_from((small, small, small, big)).flatmap(lambda strategy: strategy)


def broadcasts(
    max_rank: int = 6, groups: int = 4
) -> st.SearchStrategy[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Shapes of two operands that broadcast, over at most `groups` groups of neighbouring dimensions; one may be shorter.

    Of a group either both, the first only, or the second only have the dimensions.
    """

    def build(parts: list[tuple[tuple[int, ...], str]], cut: bool) -> tuple[tuple[int, ...], tuple[int, ...]]:
        a, b = (
            tuple(side if whose in ("both", own) else 1 for sides, whose in parts for side in sides)
            for own in ("a", "b")
        )
        if cut:
            while len(b) > 1 and b[0] == 1:
                b = b[1:]
        return a, b

    sides = st.lists(st.integers(1, 9), min_size=1, max_size=max(1, max_rank - groups + 1)).map(tuple)
    group = st.tuples(sides, st.sampled_from(("both", "both", "a", "b")))
    pairs = st.builds(build, st.lists(group, min_size=1, max_size=groups), st.booleans())
    return pairs.filter(
        lambda pair: len(pair[0]) <= max_rank and math.prod(np.broadcast_shapes(*pair)) <= 1 << 16
    )


def seeds() -> st.SearchStrategy[int]:
    """Seeds of `values`: NumPy draws elements faster than Hypothesis does."""
    return st.integers(0, 2**32 - 1)


def values(dtype: str, shape: tuple[int, ...], seed: int) -> np.ndarray:
    """Elements of the type's whole range; one in eight is an end of it."""
    rng = np.random.default_rng(seed)
    info = np.iinfo(dtype)
    x = rng.integers(info.min, info.max, shape, endpoint=True)
    ends = rng.choice((info.min, info.max), shape)
    return np.where(rng.random(shape) < 1 / 8, ends, x).astype(dtype)
