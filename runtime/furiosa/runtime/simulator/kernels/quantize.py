"""QUANTIZE and DEQUANTIZE."""

from __future__ import annotations

import numpy as np

from furiosa.enf.isa import Rounding
from furiosa.runtime.simulator.kernels.blocks import blocks

f32 = np.float32


def quantize(input: np.ndarray, output: np.ndarray, *, scale: float, zero_point: int, rounding: int) -> None:
    """Float32 to int8; a NaN becomes the smallest value."""
    for x, out in blocks(input, output):
        with np.errstate(all="ignore"):  # infinities and NaN are data here
            acc = x * f32(f32(1) / f32(scale)) if rounding == Rounding.XNNPACK else x / f32(scale)
            np.rint(acc, out=acc)
            acc += f32(zero_point)
        np.fmin(np.fmax(acc, f32(-128), out=acc), f32(127), out=acc)
        np.copyto(out, acc, casting="unsafe")


def dequantize(input: np.ndarray, output: np.ndarray, *, scale: float, zero_point: int) -> None:
    """Int8 to float32."""
    for x, out in blocks(input, output):
        np.subtract(x, f32(zero_point), out=out, dtype=f32)
        out *= f32(scale)
