"""Forms of what slides a window or contracts: convolutions, matrix products, pooling."""

from __future__ import annotations

from collections.abc import Callable

from furiosa.compiler.dfg.graph import Operator, Tensor
from furiosa.compiler.gir.form import Form, Params, Read, make_form
from furiosa.compiler.gir.tile import Box, whole
from furiosa.enf import contraction
from furiosa.enf.contraction import Contraction
from furiosa.enf.target import Target


def _window_rows(p: Params, box: Box, kernel: int, size: int) -> tuple[tuple[int, int], int]:
    """The input rows that output rows need, and the rows of padding above them."""
    (start, count), stride, dilation = box[1], int(p["stride_h"]), int(p.get("dilation_h", 1))
    first = start * stride - int(p["pad_top"])
    last = first + (count - 1) * stride + (kernel - 1) * dilation + 1
    lo, hi = max(first, 0), min(last, size)
    return (lo, hi - lo), lo - first


def _lines(box: Box) -> tuple[int, int]:
    """The rows of all images of a box of [N, H, W, C], and the pixels of each."""
    return box[0][1] * box[1][1], box[2][1]


def conv(op: Operator, target: Target) -> list[Form]:
    x, w, b, s = op.inputs
    y = op.outputs[0]
    one_row = w.shape[2] == 1 and op.attributes["stride_w"] == 1 and not op.attributes["pad_left"]
    if one_row and y.shape[1] == 1 and w.shape[1] == 1:
        return [_pointwise_row(op, target)]
    return [conv_form(x, w, b, s, y, op.attributes, target, y.shape)]


def conv_form(
    x: Tensor,
    w: Tensor,
    b: Tensor,
    s: Tensor,
    y: Tensor,
    attributes: Params,
    target: Target,
    shape: tuple[int, ...],
    **place: tuple[int, ...],
) -> Form:
    """CONV2D of x with the weights w, written to the elements of y that ``shape`` and ``place`` tell (see Form)."""
    out_channels, kh, kw, depth = w.shape
    groups = attributes["groups"]
    per_group = out_channels // groups

    def operands(box: Box) -> tuple[list[Read], Params]:
        rows, pad_top = _window_rows(attributes, box, kh, x.shape[1])
        (c0, c), group_count = box[3], max(box[3][1] // per_group, 1)
        channels = (0, x.shape[3]) if groups == 1 else (c0 // per_group * depth, group_count * depth)
        window = attributes["stride_w"], attributes["dilation_w"]
        tile_groups = 1 if groups == 1 else group_count
        work = Contraction(*_lines(box), c, kh, kw, depth, *window, tile_groups)
        split = contraction.best_split(target, work)
        params = {
            **attributes,
            "pad_top": pad_top,
            "groups": tile_groups,
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

    granularity = {3: target.mac_height} if groups == 1 else {3: per_group}
    return make_form(
        "CONV2D",
        y,
        shape,
        operands,
        bands=(0, 1, 3),
        granularity=granularity,
        **place,
    )


def _pointwise_row(op: Operator, target: Target) -> Form:
    """A matrix product in the shape of a convolution, [1, 1, rows, depth]: it can be cut along the rows too."""
    x, w, b, s = op.inputs
    y = op.outputs[0]
    depth = w.shape[3]

    def operands(box: Box) -> tuple[list[Read], Params]:
        work = Contraction(box[0][1], box[2][1], box[3][1], depth=depth)
        split = contraction.best_split(target, work)
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
    return make_form(
        "CONV2D",
        y,
        y.shape,
        operands,
        bands=dims,
        granularity=granularity,
    )


def depthwise(op: Operator, target: Target) -> list[Form]:
    x, w, b, s = op.inputs
    y = op.outputs[0]
    return [depthwise_form(x, w, b, s, y, op.attributes, target, y.shape)]


def depthwise_form(
    x: Tensor,
    w: Tensor,
    b: Tensor,
    s: Tensor,
    y: Tensor,
    attributes: Params,
    target: Target,
    shape: tuple[int, ...],
    **place: tuple[int, ...],
) -> Form:
    """The same for DEPTHWISE_CONV2D."""
    kh, kw, out_channels = w.shape
    multiplier = out_channels // x.shape[3]

    def operands(box: Box) -> tuple[list[Read], Params]:
        rows, pad_top = _window_rows(attributes, box, kh, x.shape[1])
        channels = (box[3][0] // multiplier, box[3][1] // multiplier)
        window = attributes["stride_w"], attributes["dilation_w"]
        work = contraction.depthwise(target, *_lines(box), box[3][1], (kh, kw), *window, multiplier)
        split = contraction.best_split(target, work)
        params = {**attributes, "pad_top": pad_top, "split_pixels": split[0], "split_channels": split[1]}
        reads = [
            Read(x, x.shape, (box[0], rows, (0, x.shape[2]), channels)),
            Read(w, w.shape, ((0, kh), (0, kw), box[3])),
            Read(b, b.shape, (box[3],)),
            Read(s, s.shape, (box[3],)),
        ]
        return reads, params

    return make_form(
        "DEPTHWISE_CONV2D",
        y,
        shape,
        operands,
        bands=(0, 1, 3),
        granularity={3: multiplier * target.mac_height},
        **place,
    )


def pool(instruction: str) -> Callable[[Operator, Target], list[Form]]:
    def build(op: Operator, target: Target) -> list[Form]:
        x, y = op.inputs[0], op.outputs[0]
        kernel = int(op.attributes["kernel_h"])

        def operands(box: Box) -> tuple[list[Read], Params]:
            rows, pad_top = _window_rows(op.attributes, box, kernel, x.shape[1])
            params = {"dilation_h": 1, "dilation_w": 1, **op.attributes, "pad_top": pad_top}
            window = params["stride_w"], params["dilation_w"]
            taps = kernel, params["kernel_w"]
            work = contraction.depthwise(target, *_lines(box), box[3][1], taps, *window)
            params["split_pixels"], params["split_channels"] = contraction.best_split(target, work)
            return [Read(x, x.shape, (box[0], rows, (0, x.shape[2]), box[3]))], params

        return [make_form(instruction, y, y.shape, operands, bands=(0, 1, 3))]

    return build


def matmul(op: Operator, target: Target) -> list[Form]:
    """Products of [B0, B1, M, K] and [B0, B1, K, N]; either may be stored with its last two dimensions swapped."""
    a, b, bias, scale = op.inputs
    y = op.outputs[0]
    swap = {True: (0, 1, 3, 2), False: None}
    perm_a, perm_b = swap[op.attributes["a_transposed"]], swap[op.attributes["b_transposed"]]
    depth = a.shape[2 if perm_a else 3]

    def operands(box: Box) -> tuple[list[Read], Params]:
        *batch, rows, columns = box
        work = Contraction(batch[0][1] * batch[1][1] * rows[1], 1, columns[1], depth=depth)
        split = contraction.best_split(target, work)
        reads = [
            _factor(a, batch, (rows, (0, depth)), perm_a),
            _factor(b, batch, ((0, depth), columns), perm_b),
            _stretched(bias, box),
            _stretched(scale, (columns,)),
        ]
        return reads, {**op.attributes, "split_pixels": split[0], "split_channels": split[1]}

    return [
        make_form(
            "MATMUL",
            y,
            y.shape,
            operands,
            bands=(0, 1, 3, 2),
            granularity={3: target.mac_height},
        )
    ]


def _factor(t: Tensor, batch: list, matrix: Box, perm: tuple[int, ...] | None) -> Read:
    """The part of a factor that a box of the product needs; a batch dimension of 1 serves all."""
    own = tuple((0, 1) if d == 1 else part for d, part in zip(t.shape, batch))
    shape = (*(size for _, size in batch), *(size for _, size in matrix))
    return Read(t, t.shape, (*own, *(matrix[::-1] if perm else matrix)), perm, shape)


def _stretched(t: Tensor, box: Box) -> Read:
    """The part of a constant for a box, its dimensions of 1 for all."""
    own = tuple((0, 1) if d == 1 else part for d, part in zip(t.shape, box))
    return Read(t, t.shape, own, None, tuple(size for _, size in box))
