"""What both formats' tables of multiply-accumulates count with."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

from furiosa.compiler.dfg.graph import Graph, Operator, Tensor

Count = Callable[[Operator], int]
Shape = tuple[int, ...]


class Unknown(Exception):
    """Why nobody can tell how much an operator multiplies: a clause."""


def unknown(reason: str) -> Count:
    """A count for operators of which nobody can tell."""

    def count(op: Operator) -> int:
        raise Unknown(reason)

    return count


def given(op: Operator, position: int) -> Tensor | None:
    """An input; None where it is left out."""
    return op.inputs[position] if position < len(op.inputs) else None


def shape(t: Tensor | None) -> Shape:
    """The shape of a tensor that an operator needs.

    Raises:
        Unknown: it is missing, or within the body of another operator and of unknown shape.
    """
    if t is None:
        raise Unknown("one of its inputs is left out")
    if t.shape is None:
        raise Unknown(f"the shape of '{t.name}' is not known")
    return t.shape


def size(t: Tensor | None) -> int:
    """The number of elements of a tensor that an operator needs."""
    return math.prod(shape(t))


def dimension(t: Tensor | None, axis: int) -> int:
    """One dimension of a tensor that an operator needs."""
    dims = shape(t)
    if not -len(dims) <= axis < len(dims):
        raise Unknown(f"'{t.name}' has {len(dims)} dimensions")
    return dims[axis]


def sizes(op: Operator, positions: Iterable[int]) -> int:
    """The elements of all inputs in some positions together; one that is left out has none."""
    return sum(size(t) for p in positions if (t := given(op, p)) is not None)


def convolution(weight: int, channels: int) -> Count:
    """Each output element is a sum over the weights of one output channel, along dimension ``channels`` of the weights."""

    def count(op: Operator) -> int:
        w = given(op, weight)
        return size(op.outputs[0]) * size(w) // max(dimension(w, channels), 1)

    return count


def transposed_convolution(data: int, weight: int, channels: int) -> Count:
    """Each input element meets the weights of its input channel, along dimension ``channels`` of the weights."""

    def count(op: Operator) -> int:
        w = given(op, weight)
        return size(given(op, data)) * size(w) // max(dimension(w, channels), 1)

    return count


def fourier(points: int, outputs: int, *, complex_input: bool) -> int:
    """A discrete Fourier transform as the product by its matrix: two real products for a real value, four for a complex one."""
    return points * outputs * (4 if complex_input else 2)


def inside(graph: Graph, count: Count) -> int:
    """Multiply-accumulates of all operators of a body.

    Raises:
        Unknown: those of one of them are.
    """
    n = 0
    for op in graph.operators:
        try:
            n += count(op)
        except Unknown as e:
            raise Unknown(f"{op.op_type} '{op.name}' in it: {e}") from None
    return n


def either(branches: Iterable[Graph], count: Count) -> int:
    """Those of the branch that is taken, where all have as many.

    Raises:
        Unknown: they differ.
    """
    counts = {inside(branch, count) for branch in branches}
    if len(counts) > 1:
        raise Unknown("its branches multiply differently, and which one is taken depends on the data")
    return counts.pop() if counts else 0


def repeated(body: Graph, times: int | None, count: Count) -> int:
    """Those of a loop; ``times`` is None where the number of turns depends on the data.

    Raises:
        Unknown: it does, and the body multiplies.
    """
    once = inside(body, count)
    if once and times is None:
        raise Unknown("how often it repeats what it multiplies depends on the data")
    return once * (times or 0)
