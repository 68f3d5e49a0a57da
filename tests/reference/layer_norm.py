"""LayerNormalization between quantised tensors, whole and in parts, as onnxruntime computes it on a processor with AVX2: value by value."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from tests.reference.rounding import f32

LANES = 8


def fma(a: np.float32, b: np.float32, c: np.float32) -> np.float32:
    """float32(a * b + c), rounded once, half to even."""
    exact = Fraction(float(a)) * Fraction(float(b)) + Fraction(float(c))
    near = f32(float(exact))
    around = [near, np.nextafter(near, f32(np.inf)), np.nextafter(near, f32(-np.inf))]
    off = [abs(Fraction(float(v)) - exact) for v in around]
    closest = [v for v, o in zip(around, off) if o == min(off)]
    return min(closest, key=lambda v: int(np.array(v).view(np.int32)) & 1)  # of two the even one


def layer_norm_onnxruntime(
    x: np.ndarray,
    x_quantization: tuple[float, int],
    weight: np.ndarray,
    bias: np.ndarray,
    epsilon: float,
    y_quantization: tuple[str, float, int],
    subtract_mean: bool = True,
) -> np.ndarray:
    """The rows of x [rows, depth], depth at least 8, normalised, times weight plus bias.

    The mean is that of the exact sum, in float64.  Squares are summed in eight lanes by fused multiply-adds; the lanes are
    joined by halves.  What is left over, less than eight values, follows one by one: of four or more the first four without
    fused multiply-adds, as the compiler has it.
    """
    (scale, zero_point), (dtype, s_y, z_y) = x_quantization, y_quantization
    depth = x.shape[1]
    out = np.empty(x.shape, dtype)
    info = np.iinfo(dtype)
    for row, result in zip(x, out):
        real = [f32(f32(int(q) - zero_point) * f32(scale)) for q in row]
        mean = f32(float(sum(map(Fraction, map(float, real)))) / depth) if subtract_mean else f32(0)
        d = [f32(v - mean) for v in real]
        lanes = [f32(0)] * LANES
        whole = depth // LANES * LANES
        for i in range(whole):
            lanes[i % LANES] = fma(d[i], d[i], lanes[i % LANES])
        while len(lanes) > 1:
            half = len(lanes) // 2
            lanes = [f32(a + b) for a, b in zip(lanes[:half], lanes[half:])]
        (squares,) = lanes
        for i in range(whole, depth):
            in_four = i < whole + (depth - whole) // 4 * 4
            squares = f32(squares + f32(d[i] * d[i])) if in_four else fma(d[i], d[i], squares)
        inverse = f32(f32(1) / np.sqrt(f32(f32(squares / f32(depth)) + f32(epsilon))))
        for i in range(depth):
            y = fma(f32(d[i] * inverse), weight[i], bias[i])
            result[i] = min(max(int(np.rint(f32(y / f32(s_y)))) + z_y, info.min), info.max)
    return out


def mean_onnxruntime(values: list[np.float32]) -> np.float32:
    """ReduceMean of a row in float32; its length is a multiple of 4.

    Eight lanes; the upper four are added to the lower four, to these the last four values where they are left over; then the
    first to the third, the second to the fourth, and these two.
    """
    whole = len(values) // LANES * LANES
    lanes = list(values[:LANES]) if whole else []
    for i in range(LANES, whole):
        lanes[i % LANES] = f32(lanes[i % LANES] + values[i])
    four = [f32(a + b) for a, b in zip(lanes[:4], lanes[4:])] if whole else list(values[:4])
    if whole and whole < len(values):
        four = [f32(a + b) for a, b in zip(four, values[whole:])]
    total = f32(f32(four[0] + four[2]) + f32(four[1] + four[3]))
    return f32(total / f32(len(values)))


def centred_onnxruntime(row: np.ndarray, scale: float, zero_point: int) -> list[np.float32]:
    """Sub(x, ReduceMean(x)) of a quantised row."""
    real = [f32(f32(int(q) - zero_point) * f32(scale)) for q in row]
    mean = mean_onnxruntime(real)
    return [f32(v - mean) for v in real]
