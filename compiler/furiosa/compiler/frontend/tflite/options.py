"""Decodes an operator's builtin options into plain attributes, generically after schema.py."""

from __future__ import annotations

from typing import Any

import numpy as np

from furiosa.compiler.errors import InvalidModel
from furiosa.compiler.frontend.tflite.flatbuffer import Table
from furiosa.compiler.frontend.tflite.schema import fields, members

# The options that an operator must carry; a file that leaves them out means their defaults.
_OPTIONS = {
    "ADD": "AddOptions",
    "AVERAGE_POOL_2D": "Pool2DOptions",
    "BATCH_MATMUL": "BatchMatMulOptions",
    "CAST": "CastOptions",
    "CONCATENATION": "ConcatenationOptions",
    "CONV_2D": "Conv2DOptions",
    "CUMSUM": "CumsumOptions",
    "DEPTHWISE_CONV_2D": "DepthwiseConv2DOptions",
    "DEPTH_TO_SPACE": "DepthToSpaceOptions",
    "DIV": "DivOptions",
    "FULLY_CONNECTED": "FullyConnectedOptions",
    "GATHER": "GatherOptions",
    "L2_POOL_2D": "Pool2DOptions",
    "LEAKY_RELU": "LeakyReluOptions",
    "LOCAL_RESPONSE_NORMALIZATION": "LocalResponseNormalizationOptions",
    "MAX_POOL_2D": "Pool2DOptions",
    "MEAN": "ReducerOptions",
    "MIRROR_PAD": "MirrorPadOptions",
    "MUL": "MulOptions",
    "PACK": "PackOptions",
    "REDUCE_ALL": "ReducerOptions",
    "REDUCE_ANY": "ReducerOptions",
    "REDUCE_MAX": "ReducerOptions",
    "REDUCE_MIN": "ReducerOptions",
    "REDUCE_PROD": "ReducerOptions",
    "RESHAPE": "ReshapeOptions",
    "RESIZE_BILINEAR": "ResizeBilinearOptions",
    "RESIZE_NEAREST_NEIGHBOR": "ResizeNearestNeighborOptions",
    "SHAPE": "ShapeOptions",
    "SOFTMAX": "SoftmaxOptions",
    "SPACE_TO_DEPTH": "SpaceToDepthOptions",
    "SPLIT": "SplitOptions",
    "SPLIT_V": "SplitVOptions",
    "SQUEEZE": "SqueezeOptions",
    "STRIDED_SLICE": "StridedSliceOptions",
    "SUB": "SubOptions",
    "SUM": "ReducerOptions",
    "TRANSPOSE_CONV": "TransposeConvOptions",
    "UNPACK": "UnpackOptions",
}


def decode(op_type: str, where: str, table: Table) -> dict[str, Any]:
    """The options of an Operator table: numbers, strings and lists; enums by name; defaults filled in.

    Args:
        where: names the operator in an error.

    Raises:
        InvalidModel: options of another operator, or an enum value that the schema does not know.
    """
    kind = _OPTIONS.get(op_type)
    values: Table = {}
    for union, tag in (("builtin_options", "BuiltinOptions"), ("builtin_options2", "BuiltinOptions2")):
        if union in table:
            kind, values = members(tag)[table[union + "_type"]], table[union]
    if kind is None:
        return {}
    if _OPTIONS.get(op_type, kind) != kind:
        raise InvalidModel(f"{where} carries {kind} in place of {_OPTIONS[op_type]}")
    attributes: dict[str, Any] = {}
    for field in fields(kind):
        if field is None:
            continue
        value = values.get(field.name, field.default)
        if field.kind == "vector":
            value = value.tolist() if isinstance(value, np.ndarray) else []
        elif field.enum is not None:
            names = members(field.enum)
            if not 0 <= value < len(names):
                raise InvalidModel(f"{where} has {field.name} {value}, which {field.enum} does not know")
            value = names[value]
        elif field.kind == "string":
            value = value or ""
        attributes[field.name] = value
    return attributes
