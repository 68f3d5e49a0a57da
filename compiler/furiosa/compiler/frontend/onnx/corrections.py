"""Output shapes that onnx infers in another way than onnxruntime makes them: pools with ceil_mode, ConvTranspose, Resize by scales.

onnx counts a window that begins in the padding after the input; adds output_padding to what auto_pad SAME_* makes, and takes
that to be the input's size times the stride even where the full output is smaller; and gives up on an output_shape below the
input's size.  The size that a scale makes it works out in double precision, onnxruntime in float32.  What onnxruntime does is tested beside this file.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx

Shape = tuple[int, ...]
_POOLS = ("AveragePool", "LpPool", "MaxPool")
_RESIZES = ("Resize", "Upsample")
OPERATORS = (*_POOLS, *_RESIZES, "ConvTranspose")


def shape(
    node: onnx.NodeProto, given: list[Shape | None], constants: Mapping[str, onnx.TensorProto]
) -> Shape | None:
    """The shape of the first output that onnxruntime makes; None where onnx infers the same, or nothing can be told.

    Args:
        given: the shapes of the node's inputs, None where one is not known.
        constants: the initialisers of the graph.
    """
    if node.domain or not given or given[0] is None or len(given[0]) < 3:
        return None
    try:
        return _shape(node, given, constants)
    except (TypeError, ValueError, AttributeError):  # attributes or scales of a wrong type: inference says so
        return None


def _shape(
    node: onnx.NodeProto, given: list[Shape | None], constants: Mapping[str, onnx.TensorProto]
) -> Shape | None:
    a = {f.name: onnx.helper.get_attribute_value(f) for f in node.attribute}
    auto = a.get("auto_pad", b"NOTSET")
    if node.op_type in _POOLS and a.get("ceil_mode") and auto == b"NOTSET":
        return _pool(a, given[0])
    if node.op_type == "ConvTranspose" and len(given) > 1 and given[1] is not None:
        return _conv_transpose(a, auto, given[0], given[1])
    if node.op_type in _RESIZES:
        return _resize(node, a, given[0], constants)
    return None


def _resize(
    node: onnx.NodeProto, a: dict[str, Any], x: Shape, constants: Mapping[str, onnx.TensorProto]
) -> Shape | None:
    if len(node.input) > 3 and node.input[3]:
        return None  # sizes
    scales = a.get("scales")
    if len(node.input) > 1:
        # Upsample and Resize 10 have (X, scales), later ones (X, roi, scales)
        stated = constants.get(node.input[min(len(node.input) - 1, 2)])
        if (
            stated is None
            or stated.data_type != onnx.TensorProto.FLOAT
            or stated.data_location == onnx.TensorProto.EXTERNAL
            or list(stated.dims) != [len(a.get("axes") or x)]
        ):
            return None
        scales = onnx.numpy_helper.to_array(stated)
    axes = [int(v) % len(x) for v in a.get("axes") or range(len(x))]
    if scales is None or len(scales) != len(axes):
        return None
    out = list(x)
    for axis, scale in zip(axes, np.asarray(scales, np.float32)):
        if not 0 < scale <= 1 << 20:  # false for a NaN
            return None
        out[axis] = int(np.float32(x[axis]) * scale)
    return tuple(out) if min(out) > 0 else None


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
