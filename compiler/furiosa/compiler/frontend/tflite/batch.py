"""Which TFLite operators keep the samples of a batch apart, and what of them changes with the batch size."""

from __future__ import annotations

import math

from furiosa.compiler.dfg.graph import Graph, Operator
from furiosa.compiler.frontend import batch as engine
from furiosa.compiler.frontend import batch_rules as rules
from furiosa.compiler.frontend.batch import Along, Batch, Mixed, Rule
from furiosa.compiler.frontend.batch_rules import constant


def apply_batch(graph: Graph, size: int) -> None:
    """Multiplies dimension 0 of inputs, outputs and what lies between.

    Raises:
        InvalidModel: an operator mixes samples.
    """
    engine.apply_batch(graph, size, _RULES)


def _axes_input(position: int):
    def axes(op: Operator) -> list[int]:
        return constant(op, position, "axes").reshape(-1).tolist()

    return axes


def _axis(op: Operator) -> list[int]:
    return [op.attributes["axis"]]


def _last(op: Operator) -> list[int]:
    return [-1]


def _gather(op: Operator, batch: Batch) -> int:
    return rules.gather(op, batch, op.attributes["axis"], op.attributes["batch_dims"])


def _reshape(op: Operator, batch: Batch) -> Along:
    place = rules.reshape(op, batch)
    if op.attributes["new_shape"]:
        shape = list(op.outputs[0].shape)
        shape[place.axis] *= batch.size
        op.attributes["new_shape"] = shape
    return place


def _squeezed(op: Operator) -> list[int]:
    return op.attributes["squeeze_dims"] or [i for i, d in enumerate(op.inputs[0].shape) if d == 1]


def _expand_dims(op: Operator, batch: Batch) -> int:
    return rules.insert(rules.only(op, batch), _axes_input(1)(op), len(op.outputs[0].shape))


def _slice(op: Operator, batch: Batch) -> int:
    axis = rules.only(op, batch)
    begin, size = constant(op, 1, "bounds"), constant(op, 2, "bounds")
    if begin[axis] != 0 or size[axis] not in (-1, op.inputs[0].shape[axis]):
        raise Mixed(f"slices dimension {axis}, which has the samples")
    rules.scale(op, batch, 2, axis)
    return axis


def _strided_slice(op: Operator, batch: Batch) -> int:
    axis = rules.only(op, batch)
    begin, end, strides = (constant(op, i, "bounds") for i in (1, 2, 3))
    a, bit = op.attributes, 1 << axis
    if (a["new_axis_mask"] | a["ellipsis_mask"]) & (2 * bit - 1) or a["shrink_axis_mask"] & bit:
        raise Mixed(f"takes dimension {axis}, which has the samples, out or apart")
    if axis < len(begin):
        whole_begin = a["begin_mask"] & bit or begin[axis] == 0
        whole_end = a["end_mask"] & bit or not a["offset"] and end[axis] >= op.inputs[0].shape[axis]
        if not (whole_begin and whole_end and strides[axis] == 1):
            raise Mixed(f"slices dimension {axis}, which has the samples")
        rules.scale(op, batch, 2, axis)
    return axis - (a["shrink_axis_mask"] & (bit - 1)).bit_count()


def _transpose_conv(op: Operator, batch: Batch) -> int:
    if rules.only(op, batch, 2) != 0:
        raise Mixed("has its batch along dimension 0")
    rules.scale(op, batch, 0, 0)
    return 0


def _fully_connected(op: Operator, batch: Batch) -> Along:
    """The input is taken as a matrix of as many columns as the weights have."""
    axis, shape = rules.only(op, batch), op.inputs[0].shape
    rows = math.prod(shape) // op.inputs[1].shape[1]
    if math.prod(shape[: axis + 1]) > rows or 0 < axis == len(shape) - 1:
        raise Mixed(f"sums over dimension {axis}, which has the samples")
    return rules.moved(op, batch, shape, op.outputs[0].shape[:-1])


def _batch_matmul(op: Operator, batch: Batch) -> int:
    if any(t in batch and batch.axis(t) >= len(t.shape) - 2 for t in op.inputs):
        raise Mixed("has the samples along rows or columns of a matrix")
    return rules.matmul(op, batch)


def _select(op: Operator, batch: Batch) -> int:
    if len(op.inputs[0].shape) != len(op.outputs[0].shape):
        raise Mixed("has a condition of fewer dimensions")
    return rules.elementwise(op, batch)


def _embedding_lookup(op: Operator, batch: Batch) -> int:
    return rules.only(op, batch)


_ELEMENTWISE = """
ABS ADD ADD_N ATAN2 CAST CEIL COS DEQUANTIZE DIV ELU EQUAL EXP FAKE_QUANT FLOOR FLOOR_DIV FLOOR_MOD GELU GREATER
GREATER_EQUAL HARD_SWISH LEAKY_RELU LESS LESS_EQUAL LOG LOGICAL_AND LOGICAL_NOT LOGICAL_OR LOGISTIC MAXIMUM MINIMUM MUL
NEG NOT_EQUAL POW PRELU QUANTIZE RELU RELU6 RELU_0_TO_1 RELU_N1_TO_1 ROUND RSQRT SELECT_V2 SIGN SIN SQRT SQUARE
SQUARED_DIFFERENCE SUB TANH ZEROS_LIKE
"""
_FIRST_INPUT = """
AVERAGE_POOL_2D CONV_2D CONV_3D DEPTHWISE_CONV_2D DEPTH_TO_SPACE L2_POOL_2D LOCAL_RESPONSE_NORMALIZATION
MAX_POOL_2D RESIZE_BILINEAR RESIZE_NEAREST_NEIGHBOR SPACE_TO_DEPTH
"""
_REDUCE = "ARG_MAX ARG_MIN CUMSUM MEAN REDUCE_ALL REDUCE_ANY REDUCE_MAX REDUCE_MIN REDUCE_PROD REVERSE_V2 SUM"
_LAST_AXIS = "L2_NORMALIZATION LOG_SOFTMAX SOFTMAX TOPK_V2"

_RULES: dict[str, Rule] = {
    **dict.fromkeys(_ELEMENTWISE.split(), rules.elementwise),
    **dict.fromkeys(_FIRST_INPUT.split(), rules.first_input),
    **dict.fromkeys(_REDUCE.split(), rules.along(_axes_input(1))),
    **dict.fromkeys(_LAST_AXIS.split(), rules.along(_last)),
    **dict.fromkeys(("MIRROR_PAD", "PAD", "PADV2"), rules.pad),
    "BATCH_MATMUL": _batch_matmul,
    "BROADCAST_TO": rules.expand,
    "CONCATENATION": rules.concatenate(lambda op: op.attributes["axis"]),
    "EMBEDDING_LOOKUP": _embedding_lookup,
    "EXPAND_DIMS": _expand_dims,
    "FULLY_CONNECTED": _fully_connected,
    "GATHER": _gather,
    "GATHER_ND": rules.gather_nd,
    "PACK": rules.concatenate(lambda op: op.attributes["axis"], stack=True),
    "RESHAPE": _reshape,
    "SELECT": _select,
    "SLICE": _slice,
    "SPLIT": rules.along(_axes_input(0), position=1, removes=False),
    "SPLIT_V": rules.along(_axes_input(2), removes=False),
    "SQUEEZE": rules.along(_squeezed, removes=True),
    "STRIDED_SLICE": _strided_slice,
    "TILE": rules.tile,
    "TRANSPOSE": rules.transpose(lambda op: constant(op, 1, "permutations")),
    "TRANSPOSE_CONV": _transpose_conv,
    "UNPACK": rules.along(_axis, removes=True),
}
