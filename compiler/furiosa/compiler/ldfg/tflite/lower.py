"""Lowering of TFLite: which function lowers which operator, after the arithmetic of LiteRT's default kernels.

Each rule of arithmetic is stated, and tested against LiteRT, in tests/reference.
"""

from __future__ import annotations

from collections.abc import Callable

from furiosa.compiler.dfg.graph import Operator
from furiosa.compiler.ldfg import rules
from furiosa.compiler.ldfg.lowering import Facts, Lowering
from furiosa.compiler.ldfg.tflite.contraction import (
    conv_2d,
    depthwise_conv_2d,
    fully_connected,
    transpose_conv,
)
from furiosa.compiler.ldfg.tflite.elementwise import add, dequantize, logistic, mul, quantize, relu, softmax
from furiosa.compiler.ldfg.tflite.move import concatenation, pad, reshape, transpose
from furiosa.compiler.ldfg.tflite.pool import average_pool_2d, max_pool_2d, mean
from furiosa.compiler.ldfg.tflite.resize import resize_bilinear, resize_nearest_neighbor
from furiosa.compiler.ldfg.verdict import Refused, Verdict, failures


def lower_tflite(lowering: Lowering) -> None:
    for op in lowering.graph.operators:
        lowering.current = [op]
        function = LOWERINGS.get(op.op_type)
        if function is None:
            reasons = failures((rules.operator_table,), Facts(op.op_type, [], []))
            lowering.to_host(op, Verdict("host", reasons))
            continue
        try:
            lowering.check_elements([op])
            lowering.apply(op.op_type, function, op)
            lowering.verdicts[op] = Verdict("npu")
        except Refused as refusal:
            lowering.to_host(op, Verdict("host", refusal.reasons))


LOWERINGS: dict[str, Callable[[Lowering, Operator], None]] = {
    "ADD": add,
    "AVERAGE_POOL_2D": average_pool_2d,
    "CONCATENATION": concatenation,
    "CONV_2D": conv_2d,
    "DEPTHWISE_CONV_2D": depthwise_conv_2d,
    "DEQUANTIZE": dequantize,
    "EXPAND_DIMS": reshape,
    "FULLY_CONNECTED": fully_connected,
    "LOGISTIC": logistic,
    "MAX_POOL_2D": max_pool_2d,
    "MEAN": mean,
    "MUL": mul,
    "PAD": pad,
    "PADV2": pad,
    "QUANTIZE": quantize,
    "RELU": relu,
    "RELU6": relu,
    "RESHAPE": reshape,
    "RESIZE_BILINEAR": resize_bilinear,
    "RESIZE_NEAREST_NEIGHBOR": resize_nearest_neighbor,
    "SOFTMAX": softmax,
    "SQUEEZE": reshape,
    "SUB": add,
    "TANH": logistic,
    "TRANSPOSE": transpose,
    "TRANSPOSE_CONV": transpose_conv,
}
