"""How each NPU operator can be split: for a box of its output, which box of each operand it reads, and with what parameters.

A form is one instruction over the operator's output or a part of it; most operators have one, Concat one an input."""

from __future__ import annotations

from collections.abc import Callable

from furiosa.compiler.dfg.graph import Operator
from furiosa.compiler.gir.form import Form
from furiosa.compiler.gir.move_forms import concat, pad, take, transpose
from furiosa.compiler.gir.plain_forms import binary, lookup, unary
from furiosa.compiler.gir.reduce_forms import along_middle, of_rows, reduce, sum_of_tensors
from furiosa.compiler.gir.resample_forms import conv_transpose, resize
from furiosa.compiler.gir.window_forms import conv, depthwise, matmul, pool
from furiosa.enf.target import Target


def forms(op: Operator, target: Target) -> list[Form]:
    """The forms of an operator, to run in order; none for a reshape, which only renames bytes."""
    return FORMS[op.op_type](op, target)


def _none(op: Operator, target: Target) -> list[Form]:
    return []


FORMS: dict[str, Callable[[Operator, Target], list[Form]]] = {
    "npu.add": binary("ADD"),
    "npu.average_pool2d": pool("AVERAGE_POOL2D"),
    "npu.concat": concat,
    "npu.conv2d": conv,
    "npu.conv_transpose2d": conv_transpose,
    "npu.depthwise_conv2d": depthwise,
    "npu.dequantize": unary("DEQUANTIZE"),
    "npu.div": binary("DIV"),
    "npu.l2_normalize": along_middle("L2_NORMALIZE"),
    "npu.layer_norm": of_rows("LAYER_NORM"),
    "npu.matmul": matmul,
    "npu.max_pool2d": pool("MAX_POOL2D"),
    "npu.maximum": binary("MAXIMUM"),
    "npu.minimum": binary("MINIMUM"),
    "npu.mul": binary("MUL"),
    "npu.pad": pad,
    "npu.quantize": unary("QUANTIZE"),
    "npu.reduce": reduce,
    "npu.reshape": _none,
    "npu.softmax": along_middle("SOFTMAX"),
    "npu.resize": resize,
    "npu.standardize": of_rows("STANDARDIZE"),
    "npu.sum": sum_of_tensors,
    "npu.table_lookup": lookup,
    "npu.take": take,
    "npu.transpose": transpose,
    "npu.variance": of_rows("VARIANCE"),
}
