"""Which TFLite operators keep the samples of a batch apart, and what of them changes with the batch size."""

from __future__ import annotations

from furiosa.compiler.dfg.graph import Graph, Operator
from furiosa.compiler.frontend import batch as engine
from furiosa.compiler.frontend.batch import Batch, Mixed, Rule, constant


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


def _gather(op: Operator, batch: Batch) -> None:
    data, indices = op.inputs
    axis = op.attributes["axis"] % max(len(data.shape), 1)
    if op.attributes["batch_dims"]:
        raise Mixed("has batch_dims")
    if (
        data in batch
        and indices not in batch
        and axis != 0
        or indices in batch
        and data not in batch
        and axis == 0
    ):
        return
    raise Mixed("gathers along dimension 0")


def _reshape(op: Operator, batch: Batch) -> None:
    shape = op.attributes["new_shape"]
    if len(op.inputs) > 1:
        engine.scale_leading(op, batch, 1)
    if shape and shape[0] > 0:
        op.attributes["new_shape"] = [shape[0] * batch.size, *shape[1:]]


def _squeeze(op: Operator, batch: Batch) -> None:
    data = op.inputs[0]
    axes = op.attributes["squeeze_dims"] or [i for i, d in enumerate(data.shape) if d == 1]
    engine.leave_dimension_0(axes, len(data.shape))


def _expand_dims(op: Operator, batch: Batch) -> None:
    engine.leave_dimension_0(_axes_input(1)(op), len(op.outputs[0].shape))


def _slice(op: Operator, batch: Batch) -> None:
    engine.first_input(op, batch)
    begin, size = constant(op, 1, "bounds"), constant(op, 2, "bounds")
    if begin[0] != 0 or size[0] not in (-1, op.inputs[0].shape[0]):
        raise Mixed("slices dimension 0")
    engine.scale_leading(op, batch, 2)


def _strided_slice(op: Operator, batch: Batch) -> None:
    engine.first_input(op, batch)
    begin, end, strides = (constant(op, i, "bounds") for i in (1, 2, 3))
    a = op.attributes
    if (a["new_axis_mask"] | a["shrink_axis_mask"] | a["ellipsis_mask"]) & 1:
        raise Mixed("takes dimension 0 out or apart")
    whole_begin = a["begin_mask"] & 1 or begin[0] == 0
    whole_end = a["end_mask"] & 1 or not a["offset"] and end[0] >= op.inputs[0].shape[0]
    if not (whole_begin and whole_end and strides[0] == 1):
        raise Mixed("slices dimension 0")
    engine.scale_leading(op, batch, 2)


def _transpose_conv(op: Operator, batch: Batch) -> None:
    if any(t in batch for i, t in enumerate(op.inputs) if i != 2):
        raise Mixed("has parameters that differ between samples")
    engine.scale_leading(op, batch, 0)


def _tile(op: Operator, batch: Batch) -> None:
    engine.first_input(op, batch)
    if constant(op, 1, "multiples")[0] != 1:
        raise Mixed("repeats dimension 0")


def _batch_matmul(op: Operator, batch: Batch) -> None:
    if any(len(t.shape) < 3 and t in batch for t in op.inputs):
        raise Mixed("has a matrix in place of a batch of matrices")
    engine.matmul(op, batch)


_ELEMENTWISE = """
ABS ADD ADD_N ATAN2 CAST CEIL COS DEQUANTIZE DIV ELU EQUAL EXP FAKE_QUANT FLOOR FLOOR_DIV FLOOR_MOD GELU GREATER
GREATER_EQUAL HARD_SWISH LEAKY_RELU LESS LESS_EQUAL LOG LOGICAL_AND LOGICAL_NOT LOGICAL_OR LOGISTIC MAXIMUM MINIMUM MUL
NEG NOT_EQUAL POW PRELU QUANTIZE RELU RELU6 RELU_0_TO_1 RELU_N1_TO_1 ROUND RSQRT SELECT_V2 SIGN SIN SQRT SQUARE
SQUARED_DIFFERENCE SUB TANH ZEROS_LIKE
"""
_FIRST_INPUT = """
AVERAGE_POOL_2D CONV_2D CONV_3D DEPTHWISE_CONV_2D DEPTH_TO_SPACE FULLY_CONNECTED L2_POOL_2D LOCAL_RESPONSE_NORMALIZATION
MAX_POOL_2D RESIZE_BILINEAR RESIZE_NEAREST_NEIGHBOR SPACE_TO_DEPTH
"""
_REDUCE = "ARG_MAX ARG_MIN CUMSUM MEAN REDUCE_ALL REDUCE_ANY REDUCE_MAX REDUCE_MIN REDUCE_PROD REVERSE_V2 SUM"
_LAST_AXIS = "L2_NORMALIZATION LOG_SOFTMAX SOFTMAX TOPK_V2"

_RULES: dict[str, Rule] = {
    **dict.fromkeys(_ELEMENTWISE.split(), engine.elementwise),
    **dict.fromkeys(_FIRST_INPUT.split(), engine.first_input),
    **dict.fromkeys(_REDUCE.split(), engine.along(_axes_input(1))),
    **dict.fromkeys(_LAST_AXIS.split(), engine.along(_last)),
    **dict.fromkeys(("MIRROR_PAD", "PAD", "PADV2"), engine.pad(1)),
    "BATCH_MATMUL": _batch_matmul,
    "CONCATENATION": engine.concatenate(lambda op: op.attributes["axis"]),
    "EXPAND_DIMS": _expand_dims,
    "GATHER": _gather,
    "PACK": engine.concatenate(lambda op: op.attributes["axis"]),
    "RESHAPE": _reshape,
    "SLICE": _slice,
    "SPLIT": engine.along(_axes_input(0), position=1),
    "SPLIT_V": engine.along(_axes_input(2)),
    "SQUEEZE": _squeeze,
    "STRIDED_SLICE": _strided_slice,
    "TILE": _tile,
    "TRANSPOSE": engine.transpose(lambda op: constant(op, 1, "permutations")),
    "TRANSPOSE_CONV": _transpose_conv,
    "UNPACK": engine.along(_axis),
}
