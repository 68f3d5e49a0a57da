"""Forms of what changes the number of pixels: resizing, and the transposed convolution."""

from __future__ import annotations

from furiosa.compiler.dfg.graph import Operator
from furiosa.compiler.gir.form import Form, Params, Read, make_form
from furiosa.compiler.gir.tile import Box
from furiosa.compiler.gir.window_forms import conv_form, depthwise_form
from furiosa.enf.target import Target


def resize(op: Operator, target: Target) -> list[Form]:
    """RESIZE: the rows that a band reads stand in the table."""
    x, rows, row_weights, columns, column_weights = op.inputs
    y = op.outputs[0]
    tall, wide = rows.shape[0], columns.shape[0]

    def operands(box: Box) -> tuple[list[Read], Params]:
        (start, count), (left, width) = box[1], box[2]
        seen = rows.data[:, start : start + count]
        first, end = int(seen.min()), int(seen.max()) + 1
        params = {
            **op.attributes,
            "row_offset": first,
            "split_pixels": target.slices,
            "split_channels": 1,
        }
        row_box, column_box = ((0, tall), (start, count)), ((0, wide), (left, width))
        return [
            Read(x, x.shape, (box[0], (first, end - first), (0, x.shape[2]), box[3])),
            Read(rows, rows.shape, row_box),
            Read(row_weights, rows.shape, row_box),
            Read(columns, columns.shape, column_box),
            Read(column_weights, columns.shape, column_box),
        ], params

    return [make_form("RESIZE", y, y.shape, operands, bands=(0, 1, 3, 2))]


def conv_transpose(op: Operator, target: Target) -> list[Form]:
    """One convolution for each phase, written to every stride-th row and column."""
    x, b, s, *weights = op.inputs
    y = op.outputs[0]
    n, height, width, channels = y.shape
    stride_h, stride_w = op.attributes["phase_stride"]
    out = []
    for w, window in zip(weights, op.attributes["windows"]):
        row, column, pad_top, pad_left, dilation_h, dilation_w = window
        attributes = {
            **op.attributes,
            "stride_h": 1,
            "stride_w": 1,
            "pad_top": pad_top,
            "pad_left": pad_left,
            "dilation_h": dilation_h,
            "dilation_w": dilation_w,
        }
        build = depthwise_form if len(w.shape) == 3 else conv_form
        shape = (n, -(-(height - row) // stride_h), -(-(width - column) // stride_w), channels)
        place = {"out_shape": y.shape, "out_origin": (0, row, column, 0)}
        step = (1, stride_h, stride_w, 1)
        out.append(build(x, w, b, s, y, attributes, target, shape, **place, out_step=step))
    return out
