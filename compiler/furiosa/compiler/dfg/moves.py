"""How moves of values are described: runs of indices, and permutations without what stays in place."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

MAX_RUNS = 256  # of one dimension: a command each


class Run(NamedTuple):
    """The ``count`` indices start, start + step, …; ``step`` is not negative, and 0 for one index again and again.

    A run never goes backwards, for strides of commands are not negative.
    """

    start: int
    step: int
    count: int


Runs = tuple[Run, ...]  # the indices that one dimension of the result takes of the source


def whole(size: int) -> Runs:
    """All indices in order."""
    return (Run(0, 1, size),)


def ranged(indices: range) -> Runs:
    """The indices of a range: backwards one by one, as all that go on beyond ``MAX_RUNS``."""
    if indices.step > 0:
        return (Run(indices.start, indices.step, len(indices)),)
    return tuple(Run(i, 1, 1) for i in indices[: MAX_RUNS + 1])


def listed(indices: Sequence[int]) -> Runs:
    """Any indices in order, as few runs as follow from taking each as long as it goes on; cut off beyond ``MAX_RUNS``."""
    runs: list[Run] = []
    for i in indices:
        if runs:
            start, step, count = runs[-1]
            apart = i - (start + step * (count - 1))
            if apart >= 0 and (count == 1 or apart == step):
                runs[-1] = Run(start, apart, count + 1)
                continue
        if len(runs) > MAX_RUNS:
            break
        runs.append(Run(i, 1, 1))
    return tuple(runs)


def repeated(size: int, times: int) -> Runs:
    """All indices so many times."""
    if size == 1:
        return (Run(0, 0, times),)
    return whole(size) * min(times, MAX_RUNS + 1)


def padded(size: int, before: int, after: int, mode: str) -> Runs:
    """A dimension padded with its own values; ``mode`` is numpy's: edge, reflect, symmetric or wrap.

    The paddings are less than the size, but for edge.
    """
    match mode:
        case "edge":
            parts = (Run(0, 0, before),), (Run(size - 1, 0, after),)
        case "wrap":
            parts = (Run(size - before, 1, before),), (Run(0, 1, after),)
        case _:
            skip = mode == "reflect"  # does not repeat the value at the edge
            first, last = before - 1 + skip, size - 1 - skip
            parts = ranged(range(first, first - before, -1)), ranged(range(last, last - after, -1))
    return tuple(run for run in (*parts[0], *whole(size), *parts[1]) if run.count)


def merged(shape: tuple[int, ...], perm: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The same transposition with fewer dimensions: those of one element left out, those that stay neighbours joined."""
    kept = [i for i, d in enumerate(shape) if d != 1]
    place = {i: k for k, i in enumerate(kept)}
    groups: list[list[int]] = []
    for p in perm:
        if p not in place:
            continue
        if groups and place[p] == place[groups[-1][-1]] + 1:
            groups[-1].append(p)
        else:
            groups.append([p])
    source = sorted(groups) or [[]]
    return (
        tuple(math.prod(shape[i] for i in group) for group in source),
        tuple(source.index(group) for group in groups) or (0,),
    )
