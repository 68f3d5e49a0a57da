"""REDUCE and SUM: sums, norms and extremes over dimensions, and the sum or mean of several tensors."""

from __future__ import annotations

import numpy as np

from furiosa.enf.isa import Reduction

f32 = np.float32


def reduce(
    input: np.ndarray,
    output: np.ndarray,
    *,
    reduction: int,
    input_zero_point: int,
    scale: float,
    divisor: float,
    output_scale: float,
    bias: float,
    output_offset: int,
    clamp_min: int,
    clamp_max: int,
) -> None:
    """Reduces the dimensions in which the output has one element: exact integers, then one float32 step after the other.

    input and output int8 of the same rank, any strides.
    """
    axes = tuple(i for i, (d, o) in enumerate(zip(input.shape, output.shape)) if d != o)
    if reduction == Reduction.MAX:
        v = (input.max(axis=axes, keepdims=True).astype(np.int64) - input_zero_point).astype(f32)
    elif reduction == Reduction.MIN:
        v = (input.min(axis=axes, keepdims=True).astype(np.int64) - input_zero_point).astype(f32)
    elif reduction == Reduction.L2:
        v = np.sqrt(sum_of_squares(input, input_zero_point, axes).astype(f32))
    else:
        count = input.size // output.size
        v = (input.sum(axis=axes, dtype=np.int64, keepdims=True) - count * input_zero_point).astype(f32)
    v *= f32(scale)
    v /= f32(divisor)
    v /= f32(output_scale)
    v += f32(bias)
    y = np.rint(v) + f32(output_offset)
    np.copyto(output, np.clip(y, clamp_min, clamp_max), casting="unsafe")


def sum_of_squares(x: np.ndarray, zero_point: int, axes: tuple[int, ...]) -> np.ndarray:
    """sum((x - zero_point)**2) over axes as int64, the axes kept with one element."""
    d = x.astype(np.int32)
    d -= zero_point
    d *= d
    return d.sum(axis=axes, dtype=np.int64, keepdims=True)


def sum_of_tensors(
    input: np.ndarray,
    scale: np.ndarray,
    zero_point: np.ndarray,
    output: np.ndarray,
    *,
    divisor: float,
    output_scale: float,
    output_zero_point: int,
    clamp_min: int,
    clamp_max: int,
) -> None:
    """The dequantised input[0], input[1], ..., summed in this order in float32, over the divisor."""
    total = np.zeros(output.shape, f32)
    for x, s, z in zip(input, scale, zero_point):
        total += (x.astype(np.int64) - int(z)).astype(f32) * s
    total /= f32(divisor)
    total /= f32(output_scale)
    y = np.rint(total) + f32(output_zero_point)
    np.copyto(output, np.clip(y, clamp_min, clamp_max), casting="unsafe")
