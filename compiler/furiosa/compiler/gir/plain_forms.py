"""Forms of what works value by value or row by row, and of what moves values."""

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


def softmax(op: Operator, target: Target) -> list[Form]:
    x, table = op.inputs
    y = op.outputs[0]

    def operands(box: Box) -> tuple[list[Read], Params]:
        return [Read(x, x.shape, box), Read(table, table.shape, whole(table.shape))], op.attributes

    return [make_form("SOFTMAX", y, y.shape, operands, bands=(0,))]


def transpose(op: Operator, target: Target) -> list[Form]:
    x, y = op.inputs[0], op.outputs[0]
    lead = 4 - len(y.shape)
    perm = (*range(lead), *(p + lead for p in op.attributes["perm"]))
    shape, source = pad_rank(y.shape, 4), pad_rank(x.shape, 4)

    def operands(box: Box) -> tuple[list[Read], Params]:
        own = [(0, 0)] * 4
        for i, p in enumerate(perm):
            own[p] = box[i]
        return [Read(x, source, tuple(own), perm)], {}

    dims = (0, 1, 2, 3)
    return [make_form("COPY", y, shape, operands, bands=dims, is_copy=True)]


def concat(op: Operator, target: Target) -> list[Form]:
    y = op.outputs[0]
    lead = 4 - len(y.shape)
    axis = op.attributes["axis"] + lead
    out, at = [], 0
    for x in op.inputs:
        shape = pad_rank(x.shape, 4)
        out.append(_part(x, shape, y, tuple(at if i == axis else 0 for i in range(4))))
        at += shape[axis]
    return out


def _part(x: Tensor, shape: tuple[int, ...], y: Tensor, origin: tuple[int, ...]) -> Form:
    """Copies a whole tensor into a place of a larger one."""

    def operands(box: Box) -> tuple[list[Read], Params]:
        return [Read(x, shape, box)], {}

    dims = (0, 1, 2, 3)
    return make_form(
        "COPY",
        y,
        shape,
        operands,
        bands=dims,
        out_shape=pad_rank(y.shape, 4),
        out_origin=origin,
        is_copy=True,
    )


def pad(op: Operator, target: Target) -> list[Form]:
    x, y = op.inputs[0], op.outputs[0]
    flat = flat_shape(y.shape)

    def fill(box: Box) -> tuple[list[Read], Params]:
        return [], {"value": op.attributes["value"] & 0xFF}

    before = (0,) * (4 - len(y.shape)) + tuple(op.attributes["before"])
    return [
        make_form("FILL", y, flat, fill, bands=(2, 3)),
        _part(x, pad_rank(x.shape, 4), y, before),
    ]
