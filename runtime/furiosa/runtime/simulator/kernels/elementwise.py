"""ADD, MUL, DIV, MAXIMUM and MINIMUM on int8 tiles of one shape; strides of 0 broadcast."""

from __future__ import annotations

import numpy as np

from furiosa.enf.isa import Rounding
from furiosa.runtime.simulator.kernels.blocks import blocks
from furiosa.runtime.simulator.kernels.requantize import f32, scratch


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
    a_shift: int,
    b_shift: int,
    output_multiplier: int,
    subtract: int,
) -> None:
    """Sum, in the arithmetic of the runtime that ``rounding`` names."""
    if rounding == Rounding.XNNPACK:
        constant = (1 << shift >> 1) - a_multiplier * a_zero_point - b_multiplier * b_zero_point
        wide = 128 * (abs(a_multiplier) + abs(b_multiplier)) + abs(constant) >= 1 << 31
        integer = np.int64 if wide else np.int32
        for x, y, out in blocks(a, b, output):
            acc = np.multiply(x, a_multiplier, out=scratch("acc", integer, *x.shape), dtype=integer)
            acc += np.multiply(y, b_multiplier, out=scratch("term", integer, *x.shape), dtype=integer)
            acc += constant
            acc >>= shift
            acc += output_zero_point
            _store(acc, clamp_min, clamp_max, out)
    elif rounding == Rounding.TFLITE:
        for x, y, out in blocks(a, b, output):
            total = _scaled((x.astype(np.int64) - a_zero_point) << 20, a_multiplier, a_shift)
            term = _scaled((y.astype(np.int64) - b_zero_point) << 20, b_multiplier, b_shift)
            total = total - term if subtract else total + term
            _store(_scaled(total, output_multiplier, shift) + output_zero_point, clamp_min, clamp_max, out)
    elif rounding == Rounding.ONNXRUNTIME:
        _add_fused(
            a,
            b,
            output,
            float(f32(a_scale)),
            float(f32(b_scale)),
            float(f32(bias)),
            raw_offset,
            clamp_min,
            clamp_max,
        )
    else:
        for x, y, out in blocks(a, b, output):
            acc = _dequantize("acc", x, a_zero_point, a_scale)
            acc += _dequantize("term", y, b_zero_point, b_scale)
            acc /= f32(output_scale)
            np.rint(acc, out=acc)
            acc += f32(output_zero_point)
            _store(acc, clamp_min, clamp_max, out)


def _scaled(values: np.ndarray, multiplier: int, shift: int) -> np.ndarray:
    """values * multiplier / 2^(31 + shift): halves up, then, for the shift, halves away from zero."""
    high = (values * multiplier + (1 << 30)) >> 31
    return np.sign(high) * ((np.abs(high) + ((1 << shift) >> 1)) >> shift)


def _add_fused(
    a: np.ndarray,
    b: np.ndarray,
    output: np.ndarray,
    a_scale: float,
    b_scale: float,
    bias: float,
    offset: int,
    low: int,
    high: int,
) -> None:
    """rint(fma(a, a_scale, fma(b, b_scale, bias))): each multiply-add is exact in float64, then rounded once to float32."""
    for x, y, out in blocks(a, b, output):
        exact = np.multiply(y, b_scale, out=scratch("exact", np.float64, *x.shape), dtype=np.float64)
        exact += bias + offset * b_scale
        acc = scratch("acc", f32, *x.shape)
        acc[...] = exact
        np.multiply(x, a_scale, out=exact, dtype=np.float64)
        exact += offset * a_scale
        exact += acc
        acc[...] = exact
        np.rint(acc, out=acc)
        acc -= f32(offset)
        _store(acc, low, high, out)


def mul(
    a: np.ndarray,
    b: np.ndarray,
    output: np.ndarray,
    *,
    a_zero_point: int,
    b_zero_point: int,
    clamp_min: int,
    clamp_max: int,
    rounding: int,
    scale: float,
    float_zero_point: int,
    output_offset: int,
    a_scale: float,
    b_scale: float,
    output_scale: float,
) -> None:
    """Product, in the arithmetic of the runtime that ``rounding`` names."""
    if rounding == Rounding.QDQ:
        for x, y, out in blocks(a, b, output):
            acc = _dequantize("acc", x, a_zero_point, a_scale)
            acc *= _dequantize("term", y, b_zero_point, b_scale)
            acc /= f32(output_scale)
            np.rint(acc, out=acc)
            acc += f32(output_offset)
            _store(acc, clamp_min, clamp_max, out)
        return
    for x, y, out in blocks(a, b, output):
        acc = np.subtract(x, f32(a_zero_point), out=scratch("acc", f32, *x.shape), dtype=f32)
        acc *= np.subtract(
            y, f32(b_zero_point), out=scratch("term", f32, *x.shape), dtype=f32
        )  # exact: 16 bits
        acc *= f32(scale)
        if float_zero_point:
            acc += f32(float_zero_point)
        np.rint(acc, out=acc)
        acc += f32(output_offset)
        _store(acc, clamp_min, clamp_max, out)


def maximum(a: np.ndarray, b: np.ndarray, output: np.ndarray) -> None:
    """The greater of two values."""
    np.maximum(a, b, out=output)


def div(
    a: np.ndarray,
    b: np.ndarray,
    output: np.ndarray,
    *,
    a_zero_point: int,
    b_zero_point: int,
    clamp_min: int,
    clamp_max: int,
    a_scale: float,
    b_scale: float,
    output_scale: float,
    output_zero_point: int,
) -> None:
    """Quotient of the real numbers; 0 / 0 is the lowest value."""
    with np.errstate(all="ignore"):
        for x, y, out in blocks(a, b, output):
            acc = _dequantize("acc", x, a_zero_point, a_scale)
            acc /= _dequantize("term", y, b_zero_point, b_scale)
            acc /= f32(output_scale)
            np.rint(acc, out=acc)
            acc += f32(output_zero_point)
            np.fmax(acc, f32(clamp_min), out=acc)
            np.minimum(acc, f32(clamp_max), out=acc)
            np.copyto(out, acc, casting="unsafe")


def minimum(a: np.ndarray, b: np.ndarray, output: np.ndarray) -> None:
    """The smaller of two values."""
    np.minimum(a, b, out=output)


def _dequantize(name: str, x: np.ndarray, zero_point: int, scale: float) -> np.ndarray:
    real = np.subtract(x, f32(zero_point), out=scratch(name, f32, *x.shape), dtype=f32)
    real *= f32(scale)
    return real


def _store(acc: np.ndarray, low: int, high: int, out: np.ndarray) -> None:
    np.clip(acc, low, high, out=acc)
    np.copyto(out, acc, casting="unsafe")
