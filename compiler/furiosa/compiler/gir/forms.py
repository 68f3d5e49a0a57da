"""How each NPU operator can be split: for a box of its output, which box of each operand it reads, and with what parameters.

A form is one instruction over the operator's output or a part of it; most operators have one, Concat one an input.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from furiosa.compiler.dfg.graph import Operator, Tensor
from furiosa.compiler.gir.tile import Box, pad_rank, whole
from furiosa.enf import timing
from furiosa.enf.target import Target

Params = dict[str, int | float]


class Read(NamedTuple):
    """An operand: a box of a tensor seen with ``shape``; its view is permuted by ``perm``, stretched to ``broadcast``."""

    tensor: Tensor
    shape: tuple[int, ...]
    box: Box
    perm: tuple[int, ...] | None = None
    broadcast: tuple[int, ...] | None = None


@dataclass(slots=True)
class Form:
    """``shape`` is what is iterated over; the output tensor is seen with ``out_shape``, written from ``out_origin`` on.

    ``bands`` are the dimensions to cut over time, ``halves`` those to cut over PEs, in order of preference;
    ``granularity`` gives the multiple that a cut of a dimension must keep.
    """

    instruction: str
    output: Tensor
    shape: tuple[int, ...]
    operands: Callable[[Box], tuple[list[Read], Params]]
    bands: tuple[int, ...]
    halves: tuple[int, ...]
    granularity: dict[int, int]
    out_shape: tuple[int, ...]
    out_origin: tuple[int, ...]
    work_per_element: int = 1
    is_copy: bool = False

    def out_box(self, box: Box) -> Box:
        return tuple((start + origin, size) for (start, size), origin in zip(box, self.out_origin))


def forms(op: Operator, target: Target) -> list[Form]:
    """The forms of an operator, to run in order; none for a reshape, which only renames bytes."""
    return _FORMS[op.op_type](op, target)


def _form(
    instruction: str, output: Tensor, shape: tuple[int, ...], operands: Callable, **more: object
) -> Form:
    out_shape = more.pop("out_shape", shape)
    origin = more.pop("out_origin", (0,) * len(shape))
    return Form(
        instruction,
        output,
        shape,
        operands,
        more.pop("bands", (1, 2, 3)),
        more.pop("halves", (1, 2, 3)),
        more.pop("granularity", {}),
        out_shape,
        origin,
        **more,
    )


def _window_rows(p: Params, box: Box, kernel: int, size: int) -> tuple[tuple[int, int], int]:
    """The input rows that output rows need, and the rows of padding above them."""
    (start, count), stride, dilation = box[1], int(p["stride_h"]), int(p.get("dilation_h", 1))
    first = start * stride - int(p["pad_top"])
    last = first + (count - 1) * stride + (kernel - 1) * dilation + 1
    lo, hi = max(first, 0), min(last, size)
    return (lo, hi - lo), lo - first


def _conv(op: Operator, target: Target) -> list[Form]:
    x, w, b, s = op.inputs
    y = op.outputs[0]
    out_channels, kh, kw, depth = w.shape
    groups = op.attributes["groups"]
    per_group = out_channels // groups

    def operands(box: Box) -> tuple[list[Read], Params]:
        rows, pad_top = _window_rows(op.attributes, box, kh, x.shape[1])
        (c0, c), group_count = box[3], max(box[3][1] // per_group, 1)
        channels = (0, x.shape[3]) if groups == 1 else (c0 // per_group * depth, group_count * depth)
        pixels = box[0][1] * box[1][1] * box[2][1]
        split = timing.best_split(target, pixels, c, kh * kw, depth)
        params = {
            **op.attributes,
            "pad_top": pad_top,
            "groups": 1 if groups == 1 else group_count,
            "split_pixels": split[0],
            "split_channels": split[1],
        }
        reads = [
            Read(x, x.shape, (box[0], rows, (0, x.shape[2]), channels)),
            Read(w, w.shape, (box[3], *whole(w.shape[1:]))),
            Read(b, b.shape, (box[3],)),
            Read(s, s.shape, (box[3],)),
        ]
        return reads, params

    one_row = kw == 1 and op.attributes["stride_w"] == 1 and not op.attributes["pad_left"]
    if one_row and y.shape[1] == 1 and kh == 1:
        return [_pointwise_row(op, target)]
    granularity = {3: target.mac_height} if groups == 1 else {3: per_group}
    work = kh * kw * depth
    # cut along the rows both PEs fetch all weights, along the channels the whole input: the smaller of the two
    halves = (3, 1) if w.size > x.size else (1, 3)
    return [
        _form(
            "CONV2D",
            y,
            y.shape,
            operands,
            bands=(0, 1, 3),
            halves=halves,
            granularity=granularity,
            work_per_element=work,
        )
    ]


def _pointwise_row(op: Operator, target: Target) -> Form:
    """A matrix product in the shape of a convolution, [1, 1, rows, depth]: it can be cut along the rows too."""
    x, w, b, s = op.inputs
    y = op.outputs[0]
    depth = w.shape[3]

    def operands(box: Box) -> tuple[list[Read], Params]:
        split = timing.best_split(target, box[0][1] * box[2][1], box[3][1], 1, depth)
        params = {**op.attributes, "split_pixels": split[0], "split_channels": split[1]}
        reads = [
            Read(x, x.shape, (box[0], box[1], box[2], (0, x.shape[3]))),
            Read(w, w.shape, (box[3], *whole(w.shape[1:]))),
            Read(b, b.shape, (box[3],)),
            Read(s, s.shape, (box[3],)),
        ]
        return reads, params

    dims = (2, 3) if op.attributes["groups"] == 1 else (2,)
    granularity = {3: target.mac_height}
    return _form(
        "CONV2D",
        y,
        y.shape,
        operands,
        bands=dims,
        halves=dims[::-1],
        granularity=granularity,
        work_per_element=depth,
    )


def _depthwise(op: Operator, target: Target) -> list[Form]:
    x, w, b, s = op.inputs
    y = op.outputs[0]
    kh, kw, out_channels = w.shape
    multiplier = out_channels // x.shape[3]

    def operands(box: Box) -> tuple[list[Read], Params]:
        rows, pad_top = _window_rows(op.attributes, box, kh, x.shape[1])
        channels = (box[3][0] // multiplier, box[3][1] // multiplier)
        pixels = box[0][1] * box[1][1] * box[2][1]
        split = timing.best_split(target, pixels, box[3][1], kh * kw, None)
        params = {**op.attributes, "pad_top": pad_top, "split_pixels": split[0], "split_channels": split[1]}
        reads = [
            Read(x, x.shape, (box[0], rows, (0, x.shape[2]), channels)),
            Read(w, w.shape, ((0, kh), (0, kw), box[3])),
            Read(b, b.shape, (box[3],)),
            Read(s, s.shape, (box[3],)),
        ]
        return reads, params

    granularity = {3: multiplier * target.mac_height}
    work = kh * kw
    return [
        _form(
            "DEPTHWISE_CONV2D",
            y,
            y.shape,
            operands,
            bands=(0, 1, 3),
            halves=(1, 3),
            granularity=granularity,
            work_per_element=work,
        )
    ]


def _pool(instruction: str) -> Callable[[Operator, Target], list[Form]]:
    def build(op: Operator, target: Target) -> list[Form]:
        x, y = op.inputs[0], op.outputs[0]
        kernel = int(op.attributes["kernel_h"])

        def operands(box: Box) -> tuple[list[Read], Params]:
            rows, pad_top = _window_rows(op.attributes, box, kernel, x.shape[1])
            params = {
                **op.attributes,
                "pad_top": pad_top,
                "split_pixels": target.slices_per_pe,
                "split_channels": 1,
            }
            return [Read(x, x.shape, (box[0], rows, (0, x.shape[2]), box[3]))], params

        work = kernel * int(op.attributes["kernel_w"])
        return [
            _form(instruction, y, y.shape, operands, bands=(0, 1, 3), halves=(1, 3), work_per_element=work)
        ]

    return build


def _mean(op: Operator, target: Target) -> list[Form]:
    x, y = op.inputs[0], op.outputs[0]

    def operands(box: Box) -> tuple[list[Read], Params]:
        params = {**op.attributes, "split_pixels": 1, "split_channels": target.slices_per_pe}
        return [Read(x, x.shape, (box[0], (0, x.shape[1]), (0, x.shape[2]), box[3]))], params

    work = x.shape[1] * x.shape[2]
    return [_form("REDUCE_MEAN", y, y.shape, operands, bands=(0, 3), halves=(3, 0), work_per_element=work)]


def _flat(shape: tuple[int, ...]) -> tuple[int, ...]:
    """An elementwise shape as [1, 1, rows, columns]."""
    columns = shape[-1] if shape else 1
    rows = 1
    for d in shape[:-1]:
        rows *= d
    return (1, 1, rows, columns)


def _binary(instruction: str) -> Callable[[Operator, Target], list[Form]]:
    def build(op: Operator, target: Target) -> list[Form]:
        a, b = op.inputs
        y = op.outputs[0]
        if a.shape == b.shape == y.shape:
            shape = shape_a = shape_b = _flat(y.shape)
        else:
            shape, shape_a, shape_b = (pad_rank(t.shape, 4) for t in (y, a, b))

        def operands(box: Box) -> tuple[list[Read], Params]:
            return [_broadcast(a, shape_a, box, shape), _broadcast(b, shape_b, box, shape)], op.attributes

        dims = (2, 3) if shape[0] == shape[1] == 1 else (1, 2, 3) if shape[0] == 1 else (0, 1, 2, 3)
        return [_form(instruction, y, shape, operands, bands=dims, halves=dims)]

    return build


def _broadcast(t: Tensor, shape: tuple[int, ...], box: Box, out: tuple[int, ...]) -> Read:
    mask = tuple(d == 1 and o != 1 for d, o in zip(shape, out))
    if not any(mask):
        return Read(t, shape, box)
    own = tuple((0, 1) if m else b for m, b in zip(mask, box))
    return Read(t, shape, own, None, tuple(size for _, size in box))


def _unary(instruction: str) -> Callable[[Operator, Target], list[Form]]:
    def build(op: Operator, target: Target) -> list[Form]:
        x, *constants = op.inputs
        y = op.outputs[0]
        shape = _flat(y.shape)

        def operands(box: Box) -> tuple[list[Read], Params]:
            return [
                Read(x, shape, box),
                *(Read(c, c.shape, whole(c.shape)) for c in constants),
            ], op.attributes

        return [_form(instruction, y, shape, operands, bands=(2, 3), halves=(2, 3))]

    return build


def _softmax(op: Operator, target: Target) -> list[Form]:
    x, table = op.inputs
    y = op.outputs[0]

    def operands(box: Box) -> tuple[list[Read], Params]:
        return [Read(x, x.shape, box), Read(table, table.shape, whole(table.shape))], op.attributes

    return [_form("SOFTMAX", y, y.shape, operands, bands=(0,), halves=(0,), work_per_element=16)]


def _transpose(op: Operator, target: Target) -> list[Form]:
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
    return [_form("COPY", y, shape, operands, bands=dims, halves=dims, is_copy=True)]


def _concat(op: Operator, target: Target) -> list[Form]:
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
    return _form(
        "COPY",
        y,
        shape,
        operands,
        bands=dims,
        halves=dims,
        out_shape=pad_rank(y.shape, 4),
        out_origin=origin,
        is_copy=True,
    )


def _pad(op: Operator, target: Target) -> list[Form]:
    x, y = op.inputs[0], op.outputs[0]
    flat = _flat(y.shape)

    def fill(box: Box) -> tuple[list[Read], Params]:
        return [], {"value": op.attributes["value"] & 0xFF}

    before = (0,) * (4 - len(y.shape)) + tuple(op.attributes["before"])
    return [
        _form("FILL", y, flat, fill, bands=(2, 3), halves=(2, 3)),
        _part(x, pad_rank(x.shape, 4), y, before),
    ]


def _none(op: Operator, target: Target) -> list[Form]:
    return []


_FORMS: dict[str, Callable[[Operator, Target], list[Form]]] = {
    "npu.add": _binary("ADD"),
    "npu.average_pool2d": _pool("AVERAGE_POOL2D"),
    "npu.concat": _concat,
    "npu.conv2d": _conv,
    "npu.depthwise_conv2d": _depthwise,
    "npu.dequantize": _unary("DEQUANTIZE"),
    "npu.max_pool2d": _pool("MAX_POOL2D"),
    "npu.mul": _binary("MUL"),
    "npu.pad": _pad,
    "npu.quantize": _unary("QUANTIZE"),
    "npu.reduce_mean": _mean,
    "npu.reshape": _none,
    "npu.softmax": _softmax,
    "npu.table_lookup": _unary("TABLE_LOOKUP"),
    "npu.transpose": _transpose,
}
