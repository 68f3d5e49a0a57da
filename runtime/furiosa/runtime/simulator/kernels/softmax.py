"""SOFTMAX over the middle dimension."""

from __future__ import annotations

import numpy as np

from furiosa.enf.isa import Rounding

f32 = np.float32


def softmax(
    input: np.ndarray,
    table: np.ndarray,
    output: np.ndarray,
    *,
    output_offset: int,
    factor: float,
    rounding: int,
) -> None:
    """[outer, classes, inner]: exponentials by distance from the maximum, summed in order in float32, then scaled."""
    if input.shape[2] == 1:  # numpy is faster over two dimensions
        input, output = input[..., 0], output[..., 0]
    distance = input.max(axis=1, keepdims=True).astype(np.int16) - input
    e = table[distance]
    total = np.add.accumulate(e, axis=1, dtype=f32)[:, -1:]
    if rounding == Rounding.TFLITE:
        e *= f32(1) / (total * f32(factor))
        e += f32(0.5)
        y = np.floor(e)
    else:
        y = np.rint(e.astype(np.float64) * factor / total)
    y += output_offset
    np.copyto(output, np.clip(y, -128, 127), casting="unsafe")
