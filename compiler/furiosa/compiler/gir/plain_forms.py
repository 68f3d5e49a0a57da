"""Forms of what works value by value."""

from __future__ import annotations

from collections.abc import Callable

from furiosa.compiler.dfg.broadcast import merged
from furiosa.compiler.dfg.graph import Operator, Tensor
from furiosa.compiler.gir.form import Form, Params, Read, make_form
from furiosa.compiler.gir.tile import Box, pad_rank, whole
from furiosa.enf.target import Target


def flat_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """An elementwise shape as [1, 1, rows, columns]."""
    columns = shape[-1] if shape else 1
    rows = 1
    for d in shape[:-1]:
        rows *= d
    return (1, 1, rows, columns)


def binary(instruction: str) -> Callable[[Operator, Target], list[Form]]:
    def build(op: Operator, target: Target) -> list[Form]:
        a, b = op.inputs
        y = op.outputs[0]
        if a.shape == b.shape == y.shape:
            shape = shape_a = shape_b = flat_shape(y.shape)
        else:
            y_shape, shapes = merged(y.shape, a.shape, b.shape)
            shape, shape_a, shape_b = (pad_rank(s, 4) for s in (y_shape, *shapes))

        def operands(box: Box) -> tuple[list[Read], Params]:
            return [_broadcast(a, shape_a, box, shape), _broadcast(b, shape_b, box, shape)], op.attributes

        dims = (2, 3) if shape[0] == shape[1] == 1 else (1, 2, 3) if shape[0] == 1 else (0, 1, 2, 3)
        return [make_form(instruction, y, shape, operands, bands=dims)]

    return build


def _broadcast(t: Tensor, shape: tuple[int, ...], box: Box, out: tuple[int, ...]) -> Read:
    mask = tuple(d == 1 and o != 1 for d, o in zip(shape, out))
    if not any(mask):
        return Read(t, shape, box)
    own = tuple((0, 1) if m else b for m, b in zip(mask, box))
    return Read(t, shape, own, None, tuple(size for _, size in box))


def unary(instruction: str) -> Callable[[Operator, Target], list[Form]]:
    def build(op: Operator, target: Target) -> list[Form]:
        x, *constants = op.inputs
        y = op.outputs[0]
        shape = flat_shape(y.shape)

        def operands(box: Box) -> tuple[list[Read], Params]:
            return [
                Read(x, shape, box),
                *(Read(c, c.shape, whole(c.shape)) for c in constants),
            ], op.attributes

        return [make_form(instruction, y, shape, operands, bands=(2, 3))]

    return build


def lookup(op: Operator, target: Target) -> list[Form]:
    """A table for all elements, or one for each place along the last dimension."""
    x, table = op.inputs
    if table.size == 256:
        return unary("TABLE_LOOKUP")(op, target)
    y = op.outputs[0]
    shape = flat_shape(y.shape)

    def operands(box: Box) -> tuple[list[Read], Params]:
        return [Read(x, shape, box), Read(table, table.shape, (box[3], (0, 256)))], op.attributes

    return [make_form("TABLE_LOOKUP", y, shape, operands, bands=(2, 3))]
