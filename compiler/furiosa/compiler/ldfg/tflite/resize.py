"""RESIZE_NEAREST_NEIGHBOR and RESIZE_BILINEAR."""

from __future__ import annotations

from collections.abc import Callable

from furiosa.compiler.dfg.graph import Operator
from furiosa.compiler.ldfg import resample, rules
from furiosa.compiler.ldfg.lowering import Facts, Lowering
from furiosa.compiler.ldfg.resample import Axis
from furiosa.compiler.ldfg.tflite.common import same_quantization
from furiosa.enf.isa import Rounding


def _resize(low: Lowering, op: Operator, axis: Callable[[int, int, bool, bool], Axis]) -> None:
    x, size, y = op.inputs[0], op.inputs[1], op.outputs[0]
    reference = "" if same_quantization(low, x, y) else "input and output with different scales"
    low.check(rules.ELEMENTWISE, Facts(op.op_type, [x, y], [size], reference=reference))
    corners, centers = op.attributes["align_corners"], op.attributes["half_pixel_centers"]
    rows, columns = (axis(x.shape[i], y.shape[i], corners, centers) for i in (1, 2))
    resample.emit(low, low.plain(x), low.result(y), rows, columns, rounding=Rounding.XNNPACK)


@rules.requires(rules.ELEMENTWISE)
def resize_nearest_neighbor(low: Lowering, op: Operator) -> None:
    """As LiteRT's builtin kernel: values move, and keep their scale."""
    _resize(low, op, resample.tflite_nearest)


@rules.requires(rules.ELEMENTWISE)
def resize_bilinear(low: Lowering, op: Operator) -> None:
    """As XNNPACK: fixed point, weights of 11 bits."""
    _resize(low, op, resample.tflite_linear)
