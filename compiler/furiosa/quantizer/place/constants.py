"""Constants as int8 and int32: weights, biases, and what is added or multiplied."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from furiosa.compiler.dfg.graph import Operator, Tensor
from furiosa.quantizer.affine import SMALLEST_SCALE, Affine, Range, affine, quantized

_MOST = 127  # of a weight's magnitude: symmetric, so -128 is not used
_MOST_BIAS = 2.0**30  # steps: half of what int32 holds, for the products are added to it
DEAD = 1e-12  # a filter whose weights are all below this is dead: they are zero

_WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul")


@dataclass(frozen=True, slots=True)
class Constant:
    """A quantised constant: ``data`` int8 or int32; ``scale`` float32 () or [C] along ``axis``; ``zero_point`` () int8, 0 where it is symmetric."""

    data: np.ndarray
    scale: np.ndarray
    zero_point: int
    axis: int | None


def has_weights(op: Operator) -> bool:
    """Whether an operator multiplies by constant weights."""
    return (
        op.op_type in _WEIGHTED
        and len(op.inputs) > 1
        and op.inputs[1] is not None
        and op.inputs[1].is_constant
    )


def weights(op: Operator, x: Affine) -> tuple[Constant, Constant | None]:
    """The weights of an operator that ``has_weights``, symmetric with a scale a channel, and its bias in steps of the sums.

    A channel's scale is raised where its bias would not fit int32 or the scale of its sums would be subnormal.

    Args:
        op: Conv, ConvTranspose, Gemm or MatMul.
        x: scale and zero point of the data.
    """
    data = op.inputs[1].data.astype(np.float64)
    axis = _axis(op)
    others = tuple(i for i in range(data.ndim) if i != axis) if axis is not None else None
    most = np.abs(data).max(axis=others) if data.size else np.zeros(())
    most = np.where(most < DEAD, 0.0, most)
    scale = np.where(most > 0, np.maximum(most / _MOST, SMALLEST_SCALE), 1.0)
    bias = op.inputs[2] if op.op_type != "MatMul" and len(op.inputs) > 2 else None
    if bias is not None:
        largest = np.abs(bias.data.astype(np.float64)).reshape(-1)
        largest = largest if axis is not None and largest.size == scale.size else largest.max(initial=0.0)
        scale = np.maximum(scale, largest / (_MOST_BIAS * float(x.scale)))
    scale = scale.astype(np.float32)
    along = scale if axis is None else scale.reshape([-1 if i == axis else 1 for i in range(data.ndim)])
    steps = np.where(np.abs(data) < DEAD, 0.0, data) / along.astype(np.float64)
    weight = Constant(np.clip(np.rint(steps), -_MOST, _MOST).astype(np.int8), scale, 0, axis)
    if bias is None:
        return weight, None
    step = (scale * x.scale).astype(np.float32)  # in float32, as every reader computes it
    sums = np.clip(np.rint(bias.data.astype(np.float64) / step), -(2**31), 2**31 - 1).astype(np.int32)
    return weight, Constant(sums, step, 0, None if step.ndim == 0 else sums.ndim - 1)


def takes_bias(op: Operator) -> bool:
    """Whether the bias of an operator can be int32: a constant, one for each column; so is none at all."""
    bias = op.inputs[2] if op.op_type != "MatMul" and len(op.inputs) > 2 else None
    if bias is None:
        return True
    if op.op_type == "Gemm" and not op.attributes.get("alpha", 1.0) == op.attributes.get("beta", 1.0) == 1.0:
        return False
    return bias.is_constant and bias.shape == (op.outputs[0].shape[1],)


def _axis(op: Operator) -> int | None:
    """The axis of the output channels; None where the weights have one scale."""
    rank = len(op.inputs[1].shape)
    match op.op_type:
        case "Conv":
            return 0
        case "ConvTranspose":
            return 1 if op.attributes.get("group", 1) == 1 else None
        case "Gemm":
            return 0 if op.attributes.get("transB", 0) else 1
    return 1 if rank == 2 else None


def operand(t: Tensor) -> Constant:
    """A constant that is added or multiplied, asymmetric with one scale."""
    values = t.data.astype(np.float64)
    by = affine(Range(float(values.min(initial=0.0)), float(values.max(initial=0.0))))
    return Constant(quantized(t.data, by), np.asarray(by.scale, np.float32), by.zero_point, None)


def operands(op: Operator) -> list[int]:
    """Where an operator has float constants that may be quantised as tensors are: not weights, and no bounds of a Clip."""
    first = 2 if has_weights(op) else 0
    if has_weights(op) and op.op_type != "MatMul" or op.op_type in ("Clip", "Resize", "Pad"):
        return []
    places = range(first, len(op.inputs))
    return [
        i
        for i in places
        if (t := op.inputs[i]) is not None and t.is_constant and t.dtype == "float32" and t.size
    ]
