"""Views to work: the ranks and parameters that an instruction asks for."""

from __future__ import annotations

from furiosa.compiler.dfg.graph import Operator
from furiosa.compiler.gir.form import Read
from furiosa.compiler.gir.tile import Buffer, Holder, View, Work, pad_rank
from furiosa.enf.isa import BY_NAME, dense_strides


def operand(holder: Holder, read: Read) -> View:
    view = holder.view(read.box)
    if read.perm is not None:
        view.shape = tuple(view.shape[p] for p in read.perm)
        view.strides = tuple(view.strides[p] for p in read.perm)
    if read.broadcast is not None:
        view.strides = tuple(0 if d != b else s for d, b, s in zip(view.shape, read.broadcast, view.strides))
        view.shape = read.broadcast
    return view


def work(instruction: str, engine: int, operands: list[View], params: dict, op: Operator) -> Work:
    """Brings the operands to the ranks of the instruction and picks its parameters; those of other roundings are 0."""
    row = BY_NAME[instruction]
    fitted = []
    for view, spec in zip(operands, row.operands):
        lead = spec.rank - len(view.shape)
        if lead:
            view.shape = pad_rank(view.shape, spec.rank)
            view.strides = (0,) * lead + view.strides
        # a dimension of one element has no stride: one spelling for equal views
        view.strides = tuple(s if d > 1 else 0 for d, s in zip(view.shape, view.strides))
        fitted.append(view)
    return Work(instruction, engine, tuple(fitted), {n: params.get(n, 0) for n in row.param_names}, op)


def rank4(view: View) -> View:
    """The view in four dimensions, leading ones added or dropped."""
    while len(view.shape) > 4 and view.shape[0] == 1:
        view.shape, view.strides = view.shape[1:], view.strides[1:]
    return view


def transfer(
    instruction: str,
    engine: int,
    source: Buffer,
    destination: Buffer,
    size: int,
    op: Operator,
    *,
    source_offset: int = 0,
    destination_offset: int = 0,
) -> Work:
    """Moves ``size`` bytes as they are."""
    shape = (1, 1, 1, size)
    strides = dense_strides(shape, 1)
    views = [
        View(source, "int8", source_offset, shape, strides),
        View(destination, "int8", destination_offset, shape, strides),
    ]
    return work(instruction, engine, views, {}, op)
