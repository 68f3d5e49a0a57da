"""Broadcasting as in NumPy, over as few dimensions as it takes."""

from __future__ import annotations

Shape = tuple[int, ...]


def merged(output: Shape, *operands: Shape) -> tuple[Shape, list[Shape]]:
    """The shapes of the output and of its operands with neighbouring dimensions merged over which the same operands repeat.

    All results have one rank, 0 or more.  [8, 3, 4, 5] = [8, 3, 4, 5] + [3, 1, 1] gives [8, 3, 20] and [8, 3, 20], [1, 3, 1].
    """
    rank = len(output)
    padded = [(1,) * (rank - len(s)) + tuple(s) for s in operands]
    shape: list[int] = []
    patterns: list[tuple[bool, ...]] = []
    for i, size in enumerate(output):
        if size == 1:
            continue
        repeats = tuple(s[i] == 1 for s in padded)
        if patterns and patterns[-1] == repeats:
            shape[-1] *= size
        else:
            patterns.append(repeats)
            shape.append(size)
    out = [tuple(1 if p[k] else d for p, d in zip(patterns, shape)) for k in range(len(operands))]
    return tuple(shape), out
