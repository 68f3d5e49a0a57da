"""LAYER_NORM: each row less its mean, over its standard deviation."""

from __future__ import annotations

import numpy as np

from furiosa.runtime.simulator.kernels.fused import multiply_add
from furiosa.runtime.simulator.kernels.requantize import f32

_LANES = 8
_BLOCK = 1 << 18  # elements at a time


def layer_norm(
    input: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray,
    output: np.ndarray,
    *,
    input_zero_point: int,
    input_scale: float,
    subtract_mean: int,
    epsilon: float,
    output_scale: float,
    output_zero_point: int,
    clamp_min: int,
    clamp_max: int,
) -> None:
    """output [rows, depth]: the rows of ``input`` normalised, times ``weight`` plus ``bias``, step by step in float32."""
    rows, depth = input.shape
    step = max(_BLOCK // depth, 1)
    with np.errstate(all="ignore"):  # weights may be any numbers
        for first in range(0, rows, step):
            part = slice(first, first + step)
            d = (input[part].astype(f32) - f32(input_zero_point)) * f32(input_scale)
            if subtract_mean:
                d -= (d.sum(1, dtype=np.float64, keepdims=True) / depth).astype(
                    f32
                )  # exact: 8 more bits, and 21 of depth
            d *= f32(1) / np.sqrt(_squares(d) / f32(depth) + f32(epsilon))[:, None]
            y = np.rint(multiply_add(d, weight, bias) / f32(output_scale)) + f32(output_zero_point)
            np.copyto(output[part], np.minimum(np.fmax(y, f32(clamp_min)), f32(clamp_max)), casting="unsafe")


def _squares(d: np.ndarray) -> np.ndarray:
    """float32 [rows]: the sums of squares of float32 [rows, depth], in the order that the instruction table states."""
    rows, depth = d.shape
    whole = depth - depth % _LANES
    lanes = np.zeros((rows, _LANES), f32)
    for i in range(0, whole, _LANES):
        part = d[:, i : i + _LANES]
        lanes = multiply_add(part, part, lanes)
    lanes = lanes[:, :4] + lanes[:, 4:]
    lanes = lanes[:, :2] + lanes[:, 2:]
    total = lanes[:, 0] + lanes[:, 1]
    rounded = whole + (depth - whole) // 4 * 4
    for i in range(whole, depth):
        x = d[:, i]
        total = total + x * x if i < rounded else multiply_add(x, x, total)
    return total
