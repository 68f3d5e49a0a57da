"""Decodes an operator's builtin options into plain attributes."""

from __future__ import annotations

from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from furiosa.compiler.errors import InvalidModel
from furiosa.compiler.frontend.tflite.tables import Table, defaults, names

# Which enum a field holds: the accessors give its number.
_ENUMS: dict[str, type] = {
    "combiner": schema.CombinerType,
    "fused_activation_function": schema.ActivationFunctionType,
    "idx_out_type": schema.TensorType,
    "in_data_type": schema.TensorType,
    "kernel_type": schema.LSTMKernelType,
    "key_dtype": schema.TensorType,
    "mode": schema.MirrorPadMode,
    "out_data_type": schema.TensorType,
    "out_type": schema.TensorType,
    "output_type": schema.TensorType,
    "padding": schema.Padding,
    "quantized_bias_type": schema.TensorType,
    "reduce_function": schema.ReduceWindowFunction,
    "type": schema.LSHProjectionType,
    "value_dtype": schema.TensorType,
    "weights_format": schema.FullyConnectedOptionsWeightsFormat,
}
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
    kind, values = _OPTIONS.get(op_type), None
    for union, tags in (
        ("builtin_options", schema.BuiltinOptions),
        ("builtin_options2", schema.BuiltinOptions2),
    ):
        if table[union] is not None:
            kind, values = names(tags)[table[f"{union}_type"]], table[union]
    if kind is None:
        return {}
    if _OPTIONS.get(op_type, kind) != kind:
        raise InvalidModel(f"{where} carries {kind} in place of {_OPTIONS[op_type]}")
    attributes: dict[str, Any] = {}
    for name, value in (defaults(kind) if values is None else values).items():
        if isinstance(value, np.ndarray):
            value = value.tolist()
        elif name in _ENUMS:
            enum = _ENUMS[name]
            if value not in names(enum):
                raise InvalidModel(f"{where} has {name} {value}, which {enum.__name__} does not know")
            value = names(enum)[value]
        attributes[name] = "" if value is None else value
    return attributes
