"""LayerNormalization, and RMSNormalization, which divides by the root mean square and subtracts no mean.

onnxruntime computes them in float32 between quantised tensors, always in the same order on processors with AVX2; so does the command.
"""

from __future__ import annotations

import math

import numpy as np

from furiosa.compiler.dfg.graph import Tensor
from furiosa.compiler.ldfg import rules
from furiosa.compiler.ldfg.arithmetic import f32
from furiosa.compiler.ldfg.lowering import Facts, Lowering
from furiosa.compiler.ldfg.moves import reshaped
from furiosa.compiler.ldfg.onnx.common import bounds, real_constant, real_numbers
from furiosa.compiler.ldfg.onnx.units import Unit
from furiosa.enf.relations import MAX_ROW

_SHORTEST = 8  # onnxruntime normalises shorter rows in another way


@rules.requires(rules.LAYER_NORM)
def layer_normalization(low: Lowering, unit: Unit) -> None:
    """Over all dimensions from an axis on, which are the rows of [rows, depth]."""
    op, x, y = unit.op, unit.inputs[0], unit.output
    rank = len(x.shape)
    depth = math.prod(x.shape[op.attributes.get("axis", -1) % max(rank, 1) :])
    weight, bias = (unit.inputs[i] if i < len(unit.inputs) else None for i in (1, 2))
    reference = real_numbers(unit)
    if depth < _SHORTEST:
        reference = reference or f"rows of {depth} values, which onnxruntime normalises in another way"
    facts = Facts(
        op.op_type,
        [x, y],
        [weight, bias],
        reduced=depth,
        reference=reference,
        attribute=_problem(unit, depth, weight, bias),
    )
    low.check(rules.LAYER_NORM, facts)
    (s_x, z_x), (s_y, z_y) = low.quantization(x), low.quantization(y)
    lo, hi = bounds(low, unit, y)
    shape = (x.size // depth, depth)
    out = low.emit(
        "npu.layer_norm",
        [
            reshaped(low, low.plain(x), shape),
            low.constant(f"{y.name}/weight", _row(weight, depth, 1)),
            low.constant(f"{y.name}/bias", _row(bias, depth, 0)),
        ],
        y.name,
        shape,
        y.quantization,
        input_zero_point=z_x,
        input_scale=float(s_x),
        subtract_mean=int(op.op_type == "LayerNormalization"),
        epsilon=float(f32(op.attributes.get("epsilon", 1e-5))),
        output_scale=float(s_y),
        output_zero_point=z_y,
        clamp_min=lo,
        clamp_max=hi,
    )
    low.emit_to("npu.reshape", [out], low.result(y))


def _problem(unit: Unit, depth: int, weight: Tensor | None, bias: Tensor | None) -> str:
    """Why weights or attributes are not such that the NPU takes them; empty where they are."""
    if unit.op.attributes.get("stash_type", 1) != 1:
        return f"stash_type {unit.op.attributes['stash_type']}"
    if depth > MAX_ROW:
        return f"rows of {depth} values, more than {MAX_ROW}"
    for what, t in (("weights", weight), ("biases", bias)):
        if t is None or not t.is_constant:  # another rule says so
            continue
        values = real_constant(t)
        if values is None:
            return f"{what} of type {t.dtype}"
        if values.size != depth:
            return f"{what} of shape {list(t.shape)} for rows of {depth} values"
        if not np.all(np.isfinite(values)):
            return f"{what} that are not finite"
    return ""


def _row(t: Tensor | None, depth: int, default: float) -> np.ndarray:
    """float32 [depth]: a constant, or the same number everywhere where it is left out."""
    values = real_constant(t)
    return np.full(depth, default, f32) if values is None else np.ascontiguousarray(values.reshape(depth))
