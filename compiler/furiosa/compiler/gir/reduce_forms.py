"""Forms of what computes over whole dimensions: reductions, sums of several tensors, Softmax, normalisation."""

from __future__ import annotations

from collections.abc import Callable

from furiosa.compiler.dfg.graph import Operator
from furiosa.compiler.gir.form import Form, Params, Read, make_form
from furiosa.compiler.gir.tile import Box, whole
from furiosa.enf.target import Target


def reduce(op: Operator, target: Target) -> list[Form]:
    """Input and output have four dimensions; those that are reduced stay whole."""
    x, y = op.inputs[0], op.outputs[0]

    def operands(box: Box) -> tuple[list[Read], Params]:
        own = tuple((0, d) if o == 1 else part for d, o, part in zip(x.shape, y.shape, box))
        return [Read(x, x.shape, own)], op.attributes

    kept = tuple(i for i in range(4) if y.shape[i] > 1) or (3,)
    return [make_form("REDUCE", y, y.shape, operands, bands=kept)]


def sum_of_tensors(op: Operator, target: Target) -> list[Form]:
    """Input [n, rows, columns], output [rows, columns]."""
    x, *constants = op.inputs
    y = op.outputs[0]

    def operands(box: Box) -> tuple[list[Read], Params]:
        parts = [Read(c, c.shape, whole(c.shape)) for c in constants]
        return [Read(x, x.shape, ((0, x.shape[0]), *box)), *parts], op.attributes

    return [make_form("SUM", y, y.shape, operands, bands=(0, 1))]


def along_middle(instruction: str) -> Callable[[Operator, Target], list[Form]]:
    """Input and output [outer, depth, inner]; what is computed goes along depth, which stays whole."""

    def build(op: Operator, target: Target) -> list[Form]:
        x, *constants = op.inputs
        y = op.outputs[0]

        def operands(box: Box) -> tuple[list[Read], Params]:
            parts = [Read(c, c.shape, whole(c.shape)) for c in constants]
            return [Read(x, x.shape, box), *parts], op.attributes

        return [make_form(instruction, y, y.shape, operands, bands=(0, 2))]

    return build


def of_rows(instruction: str) -> Callable[[Operator, Target], list[Form]]:
    """Output [rows, depth] or [rows, 1], input [rows, depth]; a row stays whole, with its own operands [rows, 1] and all constants."""

    def build(op: Operator, target: Target) -> list[Form]:
        y = op.outputs[0]

        def operands(box: Box) -> tuple[list[Read], Params]:
            parts = [
                Read(t, t.shape, whole(t.shape) if t.is_constant else (box[0], (0, t.shape[1])))
                for t in op.inputs
            ]
            return parts, op.attributes

        return [make_form(instruction, y, y.shape, operands, bands=(0,))]

    return build
