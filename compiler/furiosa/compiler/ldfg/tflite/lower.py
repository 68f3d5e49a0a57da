"""Lowering of TFLite: which function lowers which operator, after the arithmetic of LiteRT's default kernels.

Each rule of arithmetic is stated, and tested against LiteRT, in tests/reference.
"""

from __future__ import annotations

from collections.abc import Callable

from furiosa.compiler.dfg.graph import HOST_REGION, Graph, Operator
from furiosa.compiler.ldfg import rules
from furiosa.compiler.ldfg.lowering import Facts, Lowering
from furiosa.compiler.ldfg.tflite.blocks import (
    batch_to_space_nd,
    depth_to_space,
    space_to_batch_nd,
    space_to_depth,
)
from furiosa.compiler.ldfg.tflite.contraction import (
    batch_matmul,
    conv_2d,
    depthwise_conv_2d,
    fully_connected,
    transpose_conv,
)
from furiosa.compiler.ldfg.tflite.elementwise import add, maximum, mul
from furiosa.compiler.ldfg.tflite.move import (
    concatenation,
    pack,
    pad,
    repeat,
    reshape,
    reverse,
    slice_,
    split,
    transpose,
    unpack,
)
from furiosa.compiler.ldfg.tflite.pool import average_pool_2d, max_pool_2d
from furiosa.compiler.ldfg.tflite.reduce import extreme, l2_normalization, mean, softmax
from furiosa.compiler.ldfg.tflite.resize import resize_bilinear, resize_nearest_neighbor
from furiosa.compiler.ldfg.tflite.unary import (
    builtin_table,
    dequantize,
    hard_swish,
    leaky_relu,
    prelu,
    quantize,
    relu,
    xnnpack_table,
)
from furiosa.compiler.ldfg.verdict import Refused, Verdict, failures


def lower_tflite(graph: Graph, release: str, tell: Callable[[str], None]) -> Lowering:
    """Lowers the graph operator by operator."""
    lowering = Lowering(graph, release)
    for i, op in enumerate(lowering.graph.operators):
        tell(f"operator {i + 1} of {len(lowering.graph.operators)}")
        lowering.current = [op]
        function = LOWERINGS.get(op.op_type)
        if function is None:
            rule = rules.of_one_run if op.op_type == HOST_REGION else rules.operator_table
            reasons = failures((rule,), Facts(op.op_type, [], []))
            lowering.to_host(op, Verdict("host", reasons))
            continue
        try:
            lowering.check_elements([op])
            lowering.apply(op.op_type, function, op)
            lowering.verdicts[op] = Verdict("npu")
        except Refused as refusal:
            lowering.to_host(op, Verdict("host", refusal.reasons))
    return lowering


LOWERINGS: dict[str, Callable[[Lowering, Operator], None]] = {
    "ADD": add,
    "AVERAGE_POOL_2D": average_pool_2d,
    "BATCH_TO_SPACE_ND": batch_to_space_nd,
    "BROADCAST_TO": repeat,
    "BATCH_MATMUL": batch_matmul,
    "CONCATENATION": concatenation,
    "CONV_2D": conv_2d,
    "DEPTHWISE_CONV_2D": depthwise_conv_2d,
    "DEPTH_TO_SPACE": depth_to_space,
    "DEQUANTIZE": dequantize,
    "ELU": xnnpack_table,
    "EXP": builtin_table,
    "EXPAND_DIMS": reshape,
    "FULLY_CONNECTED": fully_connected,
    "GELU": builtin_table,
    "HARD_SWISH": hard_swish,
    "L2_NORMALIZATION": l2_normalization,
    "LEAKY_RELU": leaky_relu,
    "LOG": builtin_table,
    "LOGISTIC": xnnpack_table,
    "MAXIMUM": maximum,
    "MAX_POOL_2D": max_pool_2d,
    "MEAN": mean,
    "MINIMUM": maximum,
    "MIRROR_PAD": pad,
    "MUL": mul,
    "PACK": pack,
    "PAD": pad,
    "PADV2": pad,
    "PRELU": prelu,
    "QUANTIZE": quantize,
    "REDUCE_MAX": extreme,
    "REDUCE_MIN": extreme,
    "RELU": relu,
    "RELU6": relu,
    "RELU_0_TO_1": relu,
    "RELU_N1_TO_1": relu,
    "RESHAPE": reshape,
    "RESIZE_BILINEAR": resize_bilinear,
    "RESIZE_NEAREST_NEIGHBOR": resize_nearest_neighbor,
    "REVERSE_V2": reverse,
    "SLICE": slice_,
    "SOFTMAX": softmax,
    "SPACE_TO_BATCH_ND": space_to_batch_nd,
    "SPACE_TO_DEPTH": space_to_depth,
    "SPLIT": split,
    "SPLIT_V": split,
    "SQUEEZE": reshape,
    "STRIDED_SLICE": slice_,
    "SUB": add,
    "SUM": mean,
    "TANH": xnnpack_table,
    "TILE": repeat,
    "TRANSPOSE": transpose,
    "TRANSPOSE_CONV": transpose_conv,
    "UNPACK": unpack,
}
