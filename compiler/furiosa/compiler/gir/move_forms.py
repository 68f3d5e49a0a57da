"""Forms of what moves values and computes nothing: every one is a COPY between two strided tiles, or several."""

from __future__ import annotations

import itertools

from furiosa.compiler.dfg.graph import Operator, Tensor
from furiosa.compiler.dfg.moves import Run, merged, whole
from furiosa.compiler.gir.form import Form, Params, Read, make_form
from furiosa.compiler.gir.plain_forms import flat_shape
from furiosa.compiler.gir.tile import Box
from furiosa.enf.target import Target


def transpose(op: Operator, target: Target) -> list[Form]:
    """``perm`` as in numpy; dimensions that stay neighbours move as one."""
    x, y = op.inputs[0], op.outputs[0]
    source, perm = merged(x.shape, op.attributes["perm"])
    shape = tuple(source[p] for p in perm)

    def operands(box: Box) -> tuple[list[Read], Params]:
        own = [(0, 0)] * len(perm)
        for i, p in enumerate(perm):
            own[p] = box[i]
        return [Read(x, source, tuple(own), perm)], {}

    dims = tuple(range(len(perm)))
    return [make_form("COPY", y, shape, operands, bands=dims, is_copy=True)]


def concat(op: Operator, target: Target) -> list[Form]:
    """One form an input."""
    y, axis = op.outputs[0], op.attributes["axis"]
    out, at = [], 0
    for x in op.inputs:
        origin = tuple(at if i == axis else 0 for i in range(len(y.shape)))
        out.append(_part(x, _wholes(x.shape), y, origin))
        at += x.shape[axis]
    return out


def pad(op: Operator, target: Target) -> list[Form]:
    """The output filled with ``value``, the input copied into it from ``before`` on."""
    x, y = op.inputs[0], op.outputs[0]
    flat = flat_shape(y.shape)

    def fill(box: Box) -> tuple[list[Read], Params]:
        return [], {"value": op.attributes["value"] & 0xFF}

    return [
        make_form("FILL", y, flat, fill, bands=(2, 3)),
        _part(x, _wholes(x.shape), y, tuple(op.attributes["before"])),
    ]


def take(op: Operator, target: Target) -> list[Form]:
    """The elements at given indices of each dimension (numpy's ``x[np.ix_(...)]``): one form for each choice of runs."""
    x, y = op.inputs[0], op.outputs[0]
    placed = []
    for runs in op.attributes["runs"]:
        starts = itertools.accumulate((run.count for run in runs), initial=0)
        placed.append(list(zip(runs, starts)))
    return [
        _part(x, tuple(run for run, _ in choice), y, tuple(at for _, at in choice))
        for choice in itertools.product(*placed)
    ]


def _wholes(shape: tuple[int, ...]) -> tuple[Run, ...]:
    return tuple(whole(d)[0] for d in shape)


def _part(x: Tensor, runs: tuple[Run, ...], y: Tensor, origin: tuple[int, ...]) -> Form:
    """Copies what a run of each dimension chooses of x into y from ``origin`` on."""
    steps = tuple(max(run.step, 1) for run in runs)
    stepped = any(step > 1 for step in steps)
    repeated = any(run.step == 0 for run in runs)

    def operands(box: Box) -> tuple[list[Read], Params]:
        own = tuple(
            (run.start + start * run.step, (size - 1) * run.step + 1) for run, (start, size) in zip(runs, box)
        )
        sizes = tuple(size for _, size in box) if repeated else None
        return [Read(x, x.shape, own, None, sizes, steps if stepped else None)], {}

    dims = tuple(range(len(x.shape)))
    return make_form(
        "COPY",
        y,
        tuple(run.count for run in runs),
        operands,
        bands=dims,
        out_shape=y.shape,
        out_origin=origin,
        is_copy=True,
    )
