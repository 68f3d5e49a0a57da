"""MAX_POOL_2D and AVERAGE_POOL_2D."""

from __future__ import annotations

from collections.abc import Callable

from furiosa.compiler.dfg.graph import Operator
from furiosa.compiler.ldfg import arithmetic, rules
from furiosa.compiler.ldfg.lowering import Facts, Lowering
from furiosa.compiler.ldfg.tflite.common import (
    activation,
    bounds,
    same_quantization,
    unsupported_activation,
    window,
)
from furiosa.enf.isa import Rounding


def _pool(low: Lowering, op: Operator, rule: Callable[..., tuple[int, int]]) -> dict[str, int]:
    x, y = op.inputs[0], op.outputs[0]
    same = x.quantization is not None and same_quantization(low, x, y)
    reference = "" if same else "input and output of a pooling with different scales"
    low.check(
        rules.POOL, Facts(op.op_type, [x, y], [], reference=reference, attribute=unsupported_activation(op))
    )
    kernel = (op.attributes["filter_height"], op.attributes["filter_width"])
    lo, hi = bounds(low, y, activation(op), rule)
    return {
        **window(op, x, y, kernel),
        "kernel_h": kernel[0],
        "kernel_w": kernel[1],
        "clamp_min": lo,
        "clamp_max": hi,
    }


@rules.requires(rules.POOL)
def max_pool_2d(low: Lowering, op: Operator) -> None:
    a = op.attributes
    # XNNPACK takes no pool that skips values
    by_builtin = a["stride_h"] > a["filter_height"] or a["stride_w"] > a["filter_width"]
    attributes = _pool(low, op, arithmetic.tflite_bounds if by_builtin else arithmetic.xnnpack_bounds)
    low.emit_to("npu.max_pool2d", [low.plain(op.inputs[0])], low.result(op.outputs[0]), **attributes)


@rules.requires(rules.POOL)
def average_pool_2d(low: Lowering, op: Operator) -> None:
    attributes = _pool(low, op, arithmetic.tflite_bounds)
    x, y = op.inputs[0], op.outputs[0]
    low.emit_to(
        "npu.average_pool2d",
        [low.plain(x)],
        low.result(y),
        **attributes,
        rounding=Rounding.TFLITE_UINT8 if x.dtype == "uint8" else Rounding.TFLITE,
    )
