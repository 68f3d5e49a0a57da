"""Multiply-accumulates of TFLite operators, builtin and custom: which have some and how many, which have none."""

from __future__ import annotations

import math

from furiosa.compiler.dfg.graph import HOST_REGION, Graph, Operator
from furiosa.compiler.dfg.macs_common import (
    Count,
    Unknown,
    convolution,
    dimension,
    either,
    fourier,
    given,
    inside,
    repeated,
    shape,
    size,
    sizes,
    transposed_convolution,
    unknown,
)


def count(op: Operator) -> int:
    """Multiply-accumulates of one run.

    Raises:
        Unknown: nobody can tell.
    """
    name, multiply, none = op.op_type, MULTIPLY, NONE
    if name == "CUSTOM":
        name, multiply, none = op.attributes.get("custom_code", ""), CUSTOM_MULTIPLY, CUSTOM_NONE
    if name in multiply:
        return multiply[name](op)
    if name in none:
        return 0
    raise Unknown(f"{name} is no operator that is known here")


# -- matrix products ----------------------------------------------------------------------------------------------


def _fully_connected(op: Operator) -> int:
    return size(op.outputs[0]) * dimension(given(op, 1), -1)


def _batch_matmul(op: Operator) -> int:
    x = given(op, 0)
    return size(op.outputs[0]) * dimension(x, -2 if op.attributes.get("adj_x", False) else -1)


def _dot_general(op: Operator) -> int:
    axes = op.attributes.get("lhs_contracting_dimensions") or ()
    return size(op.outputs[0]) * math.prod(dimension(given(op, 0), a) for a in axes)


def _general_convolution(op: Operator) -> int:
    """Its options say which dimension of the weights is which."""
    return convolution(1, op.attributes.get("kernel_output_feature_dimension", 0))(op)


# -- recurrent layers ---------------------------------------------------------------------------------------------


def _steps(op: Operator) -> int:
    """Vectors along the last dimension of the input: the batch, times the steps of a sequence."""
    x = given(op, 0)
    return size(x) // max(dimension(x, -1), 1)


def _recurrent(*weights: int) -> Count:
    """Each vector by all matrices of weights; peepholes are element by element."""
    return lambda op: _steps(op) * sizes(op, weights)


_LSTM = (*range(1, 9), 16)  # of the input, of the state, the projection


def _lstm(op: Operator) -> int:
    """In the form "BASIC" all weights are one matrix."""
    weights = (2,) if op.attributes.get("kernel_type") == "BASIC" else _LSTM
    return _recurrent(*weights)(op)


# -- transforms ---------------------------------------------------------------------------------------------------


def _rfft2d(op: Operator) -> int:
    """[.., rows, columns] of real values: each row, then each column of what they became."""
    x, y = shape(given(op, 0)), shape(op.outputs[0])
    rows, frequencies = y[-2:]
    one = rows * fourier(x[-1], frequencies, complex_input=False)
    return math.prod(y[:-2]) * (one + frequencies * fourier(rows, rows, complex_input=True))


# -- operators that run others ------------------------------------------------------------------------------------


def _body(op: Operator, name: str) -> Graph:
    body = (op.bodies or {}).get(name)
    if body is None:
        raise Unknown("what it runs is not known")
    return body


def _if(op: Operator) -> int:
    branches = [_body(op, "then_subgraph_index"), _body(op, "else_subgraph_index")]
    condition = given(op, 0)
    if condition is not None and condition.is_constant:
        branches = [branches[0 if condition.data.any() else 1]]
    return either(branches, count)


def _while(op: Operator) -> int:
    names = ("cond_subgraph_index", "body_subgraph_index")
    return sum(repeated(_body(op, name), None, count) for name in names)


def _calls(name: str) -> Count:
    return lambda op: inside(_body(op, name), count)


def _for_each(name: str) -> Count:
    """Runs a function as often as its algorithm likes, which mostly adds or compares two numbers."""
    return lambda op: repeated(_body(op, name), None, count)


# -- the tables ---------------------------------------------------------------------------------------------------

MULTIPLY: dict[str, Count] = {
    "BATCH_MATMUL": _batch_matmul,
    "BIDIRECTIONAL_SEQUENCE_LSTM": _recurrent(*_LSTM, *range(18, 26), 33, *range(40, 48)),
    "BIDIRECTIONAL_SEQUENCE_RNN": _recurrent(1, 2, 5, 6, 10, 11),
    "CALL": _calls("subgraph"),
    "CONV_2D": convolution(1, 0),
    "CONV_3D": convolution(1, 4),
    "CONV_3D_TRANSPOSE": transposed_convolution(2, 1, 4),
    "DELEGATE": unknown("what a delegate does stands in no model"),
    "DEPTHWISE_CONV_2D": convolution(1, 3),
    "FULLY_CONNECTED": _fully_connected,
    HOST_REGION: _calls("function"),  # of the importer: operators that run together
    "IF": _if,
    "LSTM": _lstm,
    "RFFT2D": _rfft2d,
    "RNN": _recurrent(1, 2),
    "STABLEHLO_CASE": unknown("which branch is taken depends on the data"),
    "STABLEHLO_COMPOSITE": _calls("decomposition_subgraph_index"),
    "STABLEHLO_CONVOLUTION": _general_convolution,
    "STABLEHLO_CUSTOM_CALL": unknown("what it calls stands in no model"),
    "STABLEHLO_DOT_GENERAL": _dot_general,
    "STABLEHLO_REDUCE": _for_each("body_subgraph_index"),
    "STABLEHLO_REDUCE_WINDOW": _for_each("body_subgraph_index"),
    "STABLEHLO_SCATTER": _for_each("update_computation_subgraph_index"),
    "STABLEHLO_SORT": _for_each("comparator_subgraph_index"),
    "STABLEHLO_WHILE": _while,
    "SVDF": _recurrent(1, 2),
    "TRANSPOSE_CONV": transposed_convolution(2, 1, 3),
    "UNIDIRECTIONAL_SEQUENCE_LSTM": _recurrent(*_LSTM),
    "UNIDIRECTIONAL_SEQUENCE_RNN": _recurrent(1, 2),
    "WHILE": _while,
}
CUSTOM_MULTIPLY: dict[str, Count] = {
    "AudioSpectrogram": unknown("its transform depends on the algorithm"),
    "Convolution2DTransposeBias": transposed_convolution(0, 1, 3),
    "Mfcc": unknown("its transform depends on the algorithm"),
}

# What only moves, compares, adds, looks up, interpolates, normalises or works element by element.  CALL_ONCE runs before the first run.
_NONE = """
    ABS ADD ADD_N ARG_MAX ARG_MIN ASSIGN_VARIABLE ATAN2 AVERAGE_POOL_2D BATCH_TO_SPACE_ND BITCAST
    BITWISE_XOR BROADCAST_ARGS BROADCAST_TO BUCKETIZE CALL_ONCE CAST CEIL COMPLEX_ABS CONCATENATION
    CONCAT_EMBEDDINGS COS CUMSUM DENSIFY DEPTH_TO_SPACE DEQUANTIZE DILATE DIV DYNAMIC_UPDATE_SLICE
    ELU EMBEDDING_LOOKUP EMBEDDING_LOOKUP_SPARSE EQUAL EXP EXPAND_DIMS FAKE_QUANT FILL FLOOR
    FLOOR_DIV FLOOR_MOD GATHER GATHER_ND GELU GREATER GREATER_EQUAL HARD_SWISH HASHTABLE
    HASHTABLE_FIND HASHTABLE_IMPORT HASHTABLE_LOOKUP HASHTABLE_SIZE IMAG L2_NORMALIZATION L2_POOL_2D
    LEAKY_RELU LESS LESS_EQUAL LOCAL_RESPONSE_NORMALIZATION LOG LOGICAL_AND LOGICAL_NOT LOGICAL_OR
    LOGISTIC LOG_SOFTMAX LSH_PROJECTION MATRIX_DIAG MATRIX_SET_DIAG MAXIMUM MAX_POOL_2D MEAN MINIMUM
    MIRROR_PAD MUL MULTINOMIAL NEG NON_MAX_SUPPRESSION_V4 NON_MAX_SUPPRESSION_V5 NOT_EQUAL ONE_HOT
    PACK PAD PADV2 POW PRELU QUANTIZE RANDOM_STANDARD_NORMAL RANDOM_UNIFORM RANGE RANK READ_VARIABLE
    REAL REDUCE_ALL REDUCE_ANY REDUCE_MAX REDUCE_MIN REDUCE_PROD REDUCE_WINDOW RELU RELU6
    RELU_0_TO_1 RELU_N1_TO_1 RESHAPE RESIZE_BILINEAR RESIZE_NEAREST_NEIGHBOR REVERSE_SEQUENCE
    REVERSE_V2 RIGHT_SHIFT ROUND RSQRT SCATTER_ND SEGMENT_SUM SELECT SELECT_V2 SHAPE SIGN SIN
    SKIP_GRAM SLICE SOFTMAX SPACE_TO_BATCH_ND SPACE_TO_DEPTH SPARSE_TO_DENSE SPLIT SPLIT_V SQRT
    SQUARE SQUARED_DIFFERENCE SQUEEZE STABLEHLO_ABS STABLEHLO_ADD STABLEHLO_AND
    STABLEHLO_BROADCAST_IN_DIM STABLEHLO_CBRT STABLEHLO_CLAMP STABLEHLO_COMPARE
    STABLEHLO_CONCATENATE STABLEHLO_CONVERT STABLEHLO_COSINE STABLEHLO_DIVIDE
    STABLEHLO_DYNAMIC_SLICE STABLEHLO_DYNAMIC_UPDATE_SLICE STABLEHLO_EXPONENTIAL STABLEHLO_FLOOR
    STABLEHLO_GATHER STABLEHLO_IOTA STABLEHLO_LOG STABLEHLO_LOGISTIC STABLEHLO_MAXIMUM
    STABLEHLO_MINIMUM STABLEHLO_MULTIPLY STABLEHLO_NEGATE STABLEHLO_OR STABLEHLO_PAD STABLEHLO_POWER
    STABLEHLO_REMAINDER STABLEHLO_RESHAPE STABLEHLO_RNG_BIT_GENERATOR STABLEHLO_RSQRT
    STABLEHLO_SELECT STABLEHLO_SHIFT_LEFT STABLEHLO_SLICE STABLEHLO_SUBTRACT STABLEHLO_TANH
    STABLEHLO_TRANSPOSE STRIDED_SLICE SUB SUM TANH TILE TOPK_V2 TRANSPOSE UNIQUE UNPACK
    UNSORTED_SEGMENT_MAX UNSORTED_SEGMENT_MIN UNSORTED_SEGMENT_PROD UNSORTED_SEGMENT_SUM VAR_HANDLE
    WHERE ZEROS_LIKE
"""
NONE = frozenset(_NONE.split())
CUSTOM_NONE = frozenset(
    ("MaxPoolingWithArgmax2D", "MaxUnpooling2D", "NumericVerify", "TFLite_Detection_PostProcess")
)
