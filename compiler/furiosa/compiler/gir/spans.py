"""Runs of bytes or elements of dense arrays, and the boxes that have them."""

from __future__ import annotations

from furiosa.compiler.gir.form import Form, Read
from furiosa.compiler.gir.tile import Box, whole
from furiosa.enf.dtypes import ITEMSIZE
from furiosa.enf.isa import dense_strides

Span = tuple[int, int]  # bytes [start, end) of a storage, or elements of an array


def leading_box(shape: tuple[int, ...], cuttable: set[int], start: int, end: int) -> Box:
    """The smallest box that has the elements [start, end) of a dense array and is itself without gaps.

    Only the dimensions in ``cuttable`` are cut; those behind the first that has more than one index left are whole.
    """
    box = []
    stride = 1
    for d in shape:
        stride *= d
    for i, d in enumerate(shape):
        if d > 1 and i not in cuttable:
            break
        stride //= d
        low, high = start // stride, -(-end // stride)
        box.append((low, high - low))
        if high - low > 1:
            break
        start, end = start - low * stride, end - low * stride
    return (*box, *whole(shape[len(box) :]))


def cuttable(form: Form) -> set[int]:
    """The dimensions of a form that may be cut anywhere."""
    return {d for d in form.bands if form.granularity.get(d, 1) == 1}


def within(form: Form, out_box: Box) -> Box | None:
    """The box of a form that writes into a box of its output; None where it writes nothing there."""
    steps = form.out_step or (1,) * len(out_box)
    box = []
    for (start, size), origin, step, d in zip(out_box, form.out_origin, steps, form.shape):
        low = max(-(-(start - origin) // step), 0)
        high = min((start + size - 1 - origin) // step + 1, d)
        if high <= low:
            return None
        box.append((low, high - low))
    return tuple(box)


def box_span(box: Box, shape: tuple[int, ...]) -> Span:
    """The elements from the first to the last of a box in a dense array."""
    strides = dense_strides(shape, 1)
    first = sum(start * stride for (start, _), stride in zip(box, strides))
    return first, first + sum((size - 1) * stride for (_, size), stride in zip(box, strides)) + 1


def read_span(read: Read) -> Span:
    """The bytes of a tensor from the first to the last that an operand has."""
    size = ITEMSIZE[read.tensor.dtype]
    start, end = box_span(read.box, read.shape)
    return start * size, end * size


def hull(a: Span | None, b: Span) -> Span:
    """The smallest span that has both."""
    return b if a is None else (min(a[0], b[0]), max(a[1], b[1]))
