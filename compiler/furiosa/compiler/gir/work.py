"""Views to work: the ranks and parameters that an instruction asks for."""

from __future__ import annotations

import math

import numpy as np

from furiosa.compiler.dfg.graph import Operator
from furiosa.compiler.errors import OutOfSram
from furiosa.compiler.gir.form import Form, Read
from furiosa.compiler.gir.tile import Box, Buffer, Holder, View, Work, pad_rank
from furiosa.enf import timing
from furiosa.enf.isa import BY_NAME, Command, Engine, Region, Space, dense_strides
from furiosa.enf.target import Target

MAX_TRANSFERS = 1 << 16  # of one tile

_NOWHERE = Buffer("nowhere", 0, Space.SRAM)


def operand(holder: Holder, read: Read) -> View:
    view = holder.view(read.box)
    if read.steps is not None:
        view.shape = tuple(-(-d // n) for d, n in zip(view.shape, read.steps))
        view.strides = tuple(s * n for s, n in zip(view.strides, read.steps))
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


def cycles(w: Work, target: Target) -> int:
    """Clock cycles of a command that has no addresses yet."""
    regions = tuple(Region(v.buffer.space, v.dtype, v.offset, v.shape, v.strides) for v in w.operands)
    waits = (0,) * Engine.COUNT
    return timing.cycles(
        Command(BY_NAME[w.instruction], w.engine, waits, regions, tuple(w.params.values())), target
    )


def form_cycles(form: Form, op: Operator, target: Target, box: Box) -> int:
    """Clock cycles of a form over a box, everything in SRAM."""
    reads, params = form.operands(box)
    zeros = (0,) * len(form.out_shape)
    operands = [operand(Holder(_NOWHERE, r.tensor.dtype, r.shape, (0,) * len(r.shape)), r) for r in reads]
    operands.append(form.place(Holder(_NOWHERE, form.output.dtype, form.out_shape, zeros), box))
    return cycles(work(form.instruction, Engine.PE, operands, params, op), target)


def dma(instruction: str, engine: int, source: View, destination: View, op: Operator) -> list[Work]:
    """Moves a tile; one command where four dimensions express it, else one for each index of those before."""
    joined = _joined(source, destination)
    rank = next(o.rank for o in BY_NAME[instruction].operands)
    lead = joined[0].shape[: max(len(joined[0].shape) - rank, 0)]
    if (count := math.prod(lead)) > MAX_TRANSFERS:
        raise OutOfSram(
            f"operator '{op.name}' ({op.op_type}) would need {count} transfers between DRAM and SRAM; the limit is {MAX_TRANSFERS}: "
            "use smaller tensors, or merge dimensions"
        )
    out = []
    for index in np.ndindex(*lead):
        views = []
        for v in joined:
            offset = v.offset + sum(i * s for i, s in zip(index, v.strides))
            views.append(View(v.buffer, v.dtype, offset, v.shape[len(lead) :], v.strides[len(lead) :]))
        out.append(work(instruction, engine, views, {}, op))
    return out


def _joined(a: View, b: View) -> tuple[View, View]:
    """The views without dimensions of one element, and with those joined that lie dense in both, where they have more than four."""
    if len(a.shape) <= 4:
        return a, b
    dims: list[tuple[int, int, int]] = []
    for d, s, t in zip(a.shape, a.strides, b.strides):
        if d == 1:
            continue
        if dims and dims[-1][1:] == (d * s, d * t):
            d *= dims.pop()[0]
        dims.append((d, s, t))
    shape = tuple(d for d, _, _ in dims)
    return (
        View(a.buffer, a.dtype, a.offset, shape, tuple(s for _, s, _ in dims)),
        View(b.buffer, b.dtype, b.offset, shape, tuple(t for _, _, t in dims)),
    )


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
