"""From a range of real numbers to scale and zero point of int8; everything that weighs or writes a range asks here."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

LOWEST, HIGHEST = -128, 127
STEPS = HIGHEST - LOWEST
SMALLEST_SCALE = 2.0**-100  # the product of two such scales is still far from the subnormal numbers


class Affine(NamedTuple):
    """``real = scale * (q - zero_point)`` with q in int8; ``scale`` is a float32 number."""

    scale: np.float32
    zero_point: int


class Range(NamedTuple):
    """Real numbers from ``low`` to ``high``."""

    low: float
    high: float


# of results that lie in a known range, after the TFLite specification of 8-bit quantisation
FIXED = {
    "Sigmoid": Affine(np.float32(1 / 256), -128),
    "Softmax": Affine(np.float32(1 / 256), -128),
    "LpNormalization": Affine(np.float32(1 / 128), 0),
}


def parameters(low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Scales (float32 numbers as float64) and zero points (as float64) of ranges [n], each widened to hold 0.

    A range of nothing but 0 has the scale 1.
    """
    low, high = np.minimum(low, 0.0).astype(np.float64), np.maximum(high, 0.0).astype(np.float64)
    scale = (high / STEPS - low / STEPS).astype(np.float32).astype(np.float64)
    scale = np.where(scale > 0, np.maximum(scale, SMALLEST_SCALE), 1.0)
    return scale, np.clip(np.rint(LOWEST - low / scale), LOWEST, HIGHEST)


def affine(of: Range) -> Affine:
    """Scale and zero point of one range."""
    scale, zero_point = parameters(np.array([of.low]), np.array([of.high]))
    return Affine(np.float32(scale[0]), int(zero_point[0]))


def quantized(values: np.ndarray, by: Affine) -> np.ndarray:
    """int8, as QuantizeLinear computes it: ties to even, what lies outside of the range at its end."""
    steps = np.rint(values.astype(np.float32) / by.scale) + by.zero_point
    return np.clip(steps, LOWEST, HIGHEST).astype(np.int8)
