"""BatchNormalization after Conv, as part of the convolution; and biases in steps of its sums."""

from __future__ import annotations

import numpy as np

from furiosa.compiler.dfg.graph import Operator, Tensor
from furiosa.compiler.ldfg import rules
from furiosa.compiler.ldfg.lowering import Facts, Lowering
from furiosa.compiler.ldfg.onnx.units import Unit

f32 = np.float32
LARGEST = 2.0**30  # of a bias: the sum with it stays in int32
_COARSE = 0.5  # results a step of the sum: above it a rounded bias would be off by more than one


@rules.requires(rules.NORMALIZATION)
def batch_normalization(low: Lowering, unit: Unit) -> None:
    """One that no Conv takes along."""
    low.check(rules.NORMALIZATION, Facts(unit.op.op_type, [unit.inputs[0], unit.output], []))


def steps(low: Lowering, x: Tensor, w: Tensor) -> np.ndarray:
    """float32 [1 or OC]: the real value of 1 in the sums of a convolution."""
    return (low.quantization(x)[0] * w.quantization.scale.astype(f32)).astype(f32)


def bias_in_steps(b: Tensor | None, step: np.ndarray, channels: int) -> tuple[np.ndarray, str]:
    """int32 [OC]: a bias, int32 or float32, in steps of the sums; and why there is none, empty where there is."""
    if b is None:
        return np.zeros(channels, np.int32), ""
    values = b.data.reshape(-1)
    if b.dtype == "int32" and b.quantization is not None:
        scale = b.quantization.scale
        if np.all(scale == step) and not np.any(b.quantization.zero_point):
            return np.broadcast_to(values, (channels,)).astype(np.int32), ""
        values = (values.astype(float) - b.quantization.zero_point) * scale.astype(float)
    elif b.dtype != "float32":
        return np.zeros(channels, np.int32), f"a bias of type {b.dtype}"
    return _rounded(np.broadcast_to(values.astype(float) / step.astype(float), (channels,)))


def _rounded(values: np.ndarray) -> tuple[np.ndarray, str]:
    if not np.all(np.abs(values) < LARGEST):  # false for a NaN
        return np.zeros(values.shape, np.int32), "a bias that no int32 of the sums' scale can hold"
    return np.rint(values).astype(np.int32), ""


def fold(
    op: Operator, bias: np.ndarray, scale: np.ndarray, step: np.ndarray
) -> tuple[np.ndarray, np.ndarray, str]:
    """Bias int32 [OC] and scale float32 [OC] of a convolution with its BatchNormalization; the last: why there are none.

    gamma * (step * sum - mean) / sqrt(variance + epsilon) + beta; the constant part is rounded to a step of the sum, so a result
    may differ by one from that in real numbers.
    """
    gamma, beta, mean, variance = (t.data.reshape(-1).astype(float) for t in op.inputs[1:5])
    if any(v.size != bias.size for v in (gamma, beta, mean, variance)):
        return bias, scale, "a BatchNormalization that is not one of each channel"
    with np.errstate(all="ignore"):
        factor = gamma / np.sqrt(variance + op.attributes.get("epsilon", 1e-5))
        folded = (scale.astype(float) * factor).astype(f32)
        shifted, problem = _rounded(bias + (beta / factor - mean) / step.astype(float))
    if problem or not np.all(np.abs(folded) <= _COARSE):
        return bias, scale, problem or "a BatchNormalization with too large a factor"
    return shifted, folded, ""
