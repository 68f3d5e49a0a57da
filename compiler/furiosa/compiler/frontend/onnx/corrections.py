"""Output shapes that onnx infers in another way than onnxruntime makes them: pools with ceil_mode, ConvTranspose.

onnx counts a window that begins in the padding after the input; adds output_padding to what auto_pad SAME_* makes, and takes
that to be the input's size times the stride even where the full output is smaller; and gives up on an output_shape below the
input's size.  What onnxruntime does is tested beside this file.
"""

from __future__ import annotations

from typing import Any

import onnx

Shape = tuple[int, ...]
_POOLS = ("AveragePool", "LpPool", "MaxPool")
OPERATORS = (*_POOLS, "ConvTranspose")


def shape(node: onnx.NodeProto, given: list[Shape | None]) -> Shape | None:
    """The shape of the first output that onnxruntime makes; None where onnx infers the same, or nothing can be told.

    Args:
        given: the shapes of the node's inputs, None where one is not known.
    """
    if node.domain or not given or given[0] is None or len(given[0]) < 3:
        return None
    a = {f.name: onnx.helper.get_attribute_value(f) for f in node.attribute}
    auto = a.get("auto_pad", b"NOTSET")
    if node.op_type in _POOLS and a.get("ceil_mode") and auto == b"NOTSET":
        return _pool(a, given[0])
    if node.op_type == "ConvTranspose" and len(given) > 1 and given[1] is not None:
        return _conv_transpose(a, auto, given[0], given[1])
    return None


def _each(a: dict[str, Any], name: str, rank: int, default: int) -> list[int] | None:
    """An attribute of one number for each spatial dimension; None where it has another length."""
    values = list(a.get(name) or [default] * rank)
    return values if len(values) == rank else None


def _pool(a: dict[str, Any], x: Shape) -> Shape | None:
    rank = len(x) - 2
    kernel, strides = _each(a, "kernel_shape", rank, 1), _each(a, "strides", rank, 1)
    dilations, pads = _each(a, "dilations", rank, 1), _each(a, "pads", 2 * rank, 0)
    if None in (kernel, strides, dilations, pads) or min(strides) < 1:
        return None
    out = []
    for i in range(rank):
        span = x[2 + i] + pads[i] + pads[i + rank] - (kernel[i] - 1) * dilations[i] - 1
        count = -(-span // strides[i]) + 1
        out.append(count - ((count - 1) * strides[i] >= x[2 + i] + pads[i]))
    return (*x[:2], *out) if min(out) > 0 else None


def _conv_transpose(a: dict[str, Any], auto: bytes, x: Shape, w: Shape) -> Shape | None:
    rank = len(x) - 2
    if len(w) != len(x):
        return None
    channels = w[1] * a.get("group", 1)
    stated = a.get("output_shape")
    if stated:
        return (x[0], channels, *stated) if len(stated) == rank and min(stated) > 0 else None
    strides, dilations = _each(a, "strides", rank, 1), _each(a, "dilations", rank, 1)
    extra = _each(a, "output_padding", rank, 0)
    if not auto.startswith(b"SAME") or None in (strides, dilations, extra):
        return None
    out = []
    for i in range(rank):
        full = (x[2 + i] - 1) * strides[i] + extra[i] + (w[2 + i] - 1) * dilations[i] + 1
        out.append(min(full, x[2 + i] * strides[i]))
    return (x[0], channels, *out) if min(out) > 0 else None
