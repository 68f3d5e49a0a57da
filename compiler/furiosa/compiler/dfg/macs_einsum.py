"""Multiply-accumulates of an Einsum: its operands meet one after the other, from left to right, each pair in one product."""

from __future__ import annotations

import math
import re

from furiosa.compiler.dfg.macs_common import Shape, Unknown

_TERM = re.compile(r"[A-Za-z]*(\.\.\.)?[A-Za-z]*")


def contraction(equation: str, shapes: list[Shape]) -> int:
    """Multiply-accumulates of a chain of products; one operand is only moved and added, which has none.

    Raises:
        Unknown: the equation does not fit the shapes.
    """
    left, arrow, right = equation.replace(" ", "").partition("->")
    terms = left.split(",")
    if len(terms) != len(shapes) or not all(_TERM.fullmatch(t) for t in (*terms, right)):
        raise Unknown(f"its equation '{equation}' cannot be read")
    sizes: dict[str, int] = {}
    labels = [_labelled(term, shape, sizes) for term, shape in zip(terms, shapes)]
    if arrow:
        kept = set(_names(right, sizes))
    else:  # what stands once, in all operands together
        every = [name for names in labels for name in names]
        kept = {name for name in every if every.count(name) == 1 or name.startswith("...")}
    n, have = 0, set(labels[0])
    for i, names in enumerate(labels[1:], start=1):
        have |= set(names)
        n += math.prod(sizes[name] for name in have)
        have &= kept.union(*labels[i + 1 :])
    return n


def _labelled(term: str, shape: Shape, sizes: dict[str, int]) -> list[str]:
    """The labels of an operand's dimensions, those of an ellipsis counted from the right; ``sizes`` learns theirs."""
    before, dots, after = term.partition("...")
    free = len(shape) - len(before) - len(after)
    if free < 0 or (free and not dots):
        raise Unknown(f"its term '{term}' does not fit a tensor of {len(shape)} dimensions")
    names = [*before, *(f"...{i}" for i in reversed(range(free))), *after]
    for name, d in zip(names, shape):
        sizes[name] = d if sizes.get(name, 1) == 1 else sizes[name]  # a dimension of 1 broadcasts
    return names


def _names(term: str, sizes: dict[str, int]) -> list[str]:
    before, dots, after = term.partition("...")
    return [*before, *(name for name in sizes if dots and name.startswith("...")), *after]
