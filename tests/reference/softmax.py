"""Softmax along the last axis of 8-bit tensors."""

from __future__ import annotations

import math

import numpy as np

from tests.reference.rounding import f32, saturate


def exponentials_builtin(x_scale: float, beta: float) -> np.ndarray:
    """float32 table e[d] = exp(-x_scale * beta * d) for the distance d = 0..255 below the largest element of a row."""
    scale = -(f32(x_scale) * f32(beta))
    return np.array([math.exp(float(scale * f32(distance))) for distance in range(256)], f32)


def softmax_builtin(x: np.ndarray, x_scale: float, beta: float = 1.0) -> np.ndarray:
    """SOFTMAX of TFLite (builtin kernel) with output scale 1/256 and the lowest value of the type as zero point.

    The row's exponentials are summed from left to right in float32; y = trunc(e * (1 / (sum/256)) + 0.5) + zy.
    """
    table = exponentials_builtin(x_scale, beta)
    distance = x.max(axis=-1, keepdims=True).astype(np.int64) - x.astype(np.int64)
    terms = table[distance]
    total = np.zeros(x.shape[:-1], f32)
    for column in range(x.shape[-1]):
        total = total + terms[..., column]
    inverse = f32(1) / (total * f32(1 / 256))
    rounded = np.trunc(terms * inverse[..., None] + f32(0.5)).astype(np.int64)
    return saturate(rounded + np.iinfo(x.dtype).min, str(x.dtype))


def exponentials_onnxruntime(x_scale: float, count: int) -> np.ndarray:
    """float32 table e[d] of QLinearSoftmax: exp(-x_scale * d) times a constant that keeps a row's sum finite.

    The constant is exp(k), k = float32(log(float32(FLT_MAX / count))) - 5, and the exponent is (k / s - d) * s in double.
    """
    largest = f32(np.finfo(f32).max) / f32(count)
    scale = float(f32(x_scale))
    shift = max(0.0, float(f32(math.log(float(largest)))) - 5) / scale
    return np.array([math.exp((shift - distance) * scale) for distance in range(256)]).astype(f32)


def softmax_onnxruntime(x: np.ndarray, x_scale: float, y_scale: float, y_zero_point: int) -> np.ndarray:
    """QLinearSoftmax along the last axis: rint(e * floor(1/y_scale) / sum) + zy, the division in double.

    The row's exponentials are summed from left to right in float32; 1/y_scale is floored to an integer (as in the kernel).
    """
    table = exponentials_onnxruntime(x_scale, x.shape[-1])
    distance = x.max(axis=-1, keepdims=True).astype(np.int64) - x.astype(np.int64)
    terms = table[distance]
    total = np.zeros(x.shape[:-1], f32)
    for column in range(x.shape[-1]):
        total = total + terms[..., column]
    steps = np.floor(f32(1) / f32(y_scale))
    quotient = terms.astype(np.float64) * float(steps) / total[..., None].astype(np.float64)
    return saturate(np.rint(quotient).astype(np.int64) + y_zero_point, str(x.dtype))
