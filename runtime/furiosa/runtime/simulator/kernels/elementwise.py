"""ADD and MUL on int8 tiles of one shape; strides of 0 broadcast."""

from __future__ import annotations

import numpy as np

from furiosa.enf.isa import Rounding
from furiosa.runtime.simulator.kernels.blocks import blocks

f32, f64 = np.float32, np.float64


def add(
    a: np.ndarray,
    b: np.ndarray,
    output: np.ndarray,
    *,
    a_zero_point: int,
    b_zero_point: int,
    clamp_min: int,
    clamp_max: int,
    rounding: int,
    output_zero_point: int,
    a_multiplier: int,
    b_multiplier: int,
    shift: int,
    a_scale: float,
    b_scale: float,
    output_scale: float,
    bias: float,
    raw_offset: int,
) -> None:
    """Sum, in the arithmetic of the runtime that ``rounding`` names."""
    if rounding == Rounding.XNNPACK:
        constant = (1 << shift >> 1) - a_multiplier * a_zero_point - b_multiplier * b_zero_point
        for x, y, out in blocks(a, b, output):
            acc = (
                x.astype(np.int64) * a_multiplier
                if _wide(a_multiplier, b_multiplier, constant)
                else _times(x, a_multiplier)
            )
            acc += y.astype(acc.dtype) * acc.dtype.type(b_multiplier)
            acc += acc.dtype.type(constant)
            acc >>= shift
            acc += output_zero_point
            _store(acc, clamp_min, clamp_max, out)
    elif rounding == Rounding.ONNXRUNTIME:
        # both multiply-adds round once, to float32: exact products and sums in float64 first
        first = (
            _by_value(raw_offset, lambda v: v * f64(f32(b_scale)) + f64(f32(bias))).astype(f32).astype(f64)
        )
        second = _by_value(raw_offset, lambda v: v * f64(f32(a_scale)))
        for x, y, out in blocks(a, b, output):
            acc = (second[x.view(np.uint8)] + first[y.view(np.uint8)]).astype(f32)
            np.rint(acc, out=acc)
            acc -= f32(raw_offset)
            _store(acc, clamp_min, clamp_max, out)
    else:
        first = _by_value(0, lambda v: (v - a_zero_point).astype(f32) * f32(a_scale))
        second = _by_value(0, lambda v: (v - b_zero_point).astype(f32) * f32(b_scale))
        for x, y, out in blocks(a, b, output):
            acc = first[x.view(np.uint8)] + second[y.view(np.uint8)]
            acc /= f32(output_scale)
            np.rint(acc, out=acc)
            acc += f32(output_zero_point)
            _store(acc, clamp_min, clamp_max, out)


def mul(
    a: np.ndarray,
    b: np.ndarray,
    output: np.ndarray,
    *,
    a_zero_point: int,
    b_zero_point: int,
    clamp_min: int,
    clamp_max: int,
    scale: float,
    float_zero_point: int,
    output_offset: int,
) -> None:
    """Product."""
    for x, y, out in blocks(a, b, output):
        acc = x.astype(f32)
        acc -= f32(a_zero_point)
        other = y.astype(f32)
        other -= f32(b_zero_point)
        acc *= other  # exact: at most 16 bits
        acc *= f32(scale)
        if float_zero_point:
            acc += f32(float_zero_point)
        np.rint(acc, out=acc)
        acc += f32(output_offset)
        _store(acc, clamp_min, clamp_max, out)


def _wide(a_multiplier: int, b_multiplier: int, constant: int) -> bool:
    """Whether the fixed-point sum may need more than 32 bits."""
    return 128 * (abs(a_multiplier) + abs(b_multiplier)) + abs(constant) >= 1 << 31


def _times(x: np.ndarray, multiplier: int) -> np.ndarray:
    return x.astype(np.int32) * np.int32(multiplier)


def _by_value(offset: int, function: object) -> np.ndarray:
    """function(value + offset) for the 256 values of an int8, indexed by the byte."""
    values = np.arange(256, dtype=np.uint8).view(np.int8).astype(f64) + offset
    return function(values)


def _store(acc: np.ndarray, low: int, high: int, out: np.ndarray) -> None:
    np.clip(acc, low, high, out=acc)
    np.copyto(out, acc, casting="unsafe")
