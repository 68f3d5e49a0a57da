"""Resizing of images, nearest and linear: which input rows (or columns) an output sees, and with what weights.

Tensors are NHWC; everything is worked out for one axis at a time, as (indices [taps, out], weights [taps, out]).
"""

from __future__ import annotations

import math

import numpy as np

from tests.reference.rounding import f32, rint, round_half_away, saturate

Axis = tuple[np.ndarray, np.ndarray]


def nearest_tflite(size: int, out: int, align_corners: bool, half_pixel_centers: bool) -> np.ndarray:
    """Indices [out] of RESIZE_NEAREST_NEIGHBOR (builtin kernel): floor of the position, rounded with align_corners."""
    stretched = align_corners and out > 1
    scale = f32(size - 1) / f32(out - 1) if stretched else f32(size) / f32(out)
    position = (np.arange(out).astype(f32) + f32(0.5 if half_pixel_centers else 0)) * scale
    index = round_half_away(position) if align_corners else np.floor(position).astype(np.int64)
    return np.clip(index, 0, size - 1)


def linear_xnnpack(size: int, out: int, align_corners: bool, half_pixel_centers: bool) -> Axis:
    """RESIZE_BILINEAR's two indices and integer weights of 11 bits (they sum to 2048), in float32 arithmetic up to the weight."""
    stretched = align_corners and out > 1
    scale = f32(size - stretched) / f32(out - stretched)
    position = np.arange(out).astype(f32) * scale
    if half_pixel_centers and not align_corners:
        position = np.clip(position + (f32(0.5) * scale - f32(0.5)), f32(0), f32(size - 1))
    first = position.astype(np.int64)
    second = rint((position - first.astype(f32)) * f32(2048))
    return np.stack([first, np.minimum(first + 1, size - 1)]), np.stack([2048 - second, second])


def bilinear_xnnpack(x: np.ndarray, rows: Axis, columns: Axis) -> np.ndarray:
    """RESIZE_BILINEAR (XNNPACK): y = (sum of the four weighted values + 2^21) >> 22, exactly, for int8 and uint8 alike."""
    total = np.zeros((x.shape[0], rows[0].shape[1], columns[0].shape[1], x.shape[3]), np.int64)
    for row, row_weight in zip(*rows):
        for column, weight in zip(*columns):
            total += (
                x[:, row][:, :, column].astype(np.int64) * (row_weight[:, None] * weight)[None, ..., None]
            )
    return ((total + (1 << 21)) >> 22).astype(x.dtype)


def positions_onnx(mode: str, size: int, out: int, scale: np.float32, roi: tuple[float, float]) -> np.ndarray:
    """Where each output lies in the input, coordinate_transformation_mode ``mode`` in float32 as onnxruntime computes it."""
    x = np.arange(out).astype(f32)
    scale = f32(scale)
    if scale == 1:
        return x
    if mode == "asymmetric":
        return x / scale
    if mode == "pytorch_half_pixel" and out == 1:
        return np.zeros(1, f32)
    if mode in ("half_pixel", "pytorch_half_pixel"):
        return (x + f32(0.5)) / scale - f32(0.5)
    if mode == "align_corners":
        return np.zeros(1, f32) if out == 1 else x * f32(size - 1) / f32(out - 1)
    if mode == "half_pixel_symmetric":
        offset = f32(size) / f32(2) * (f32(1) - f32(out) / (scale * f32(size)))
        return (float(offset) + (x.astype(float) + 0.5) / float(scale) - 0.5).astype(
            f32
        )  # in double precision
    start, end = f32(roi[0]), f32(roi[1])
    if out == 1:
        return np.asarray([f32(0.5) * (start + end) * f32(size - 1)], f32)
    return start * f32(size - 1) + x * (end - start) * f32(size - 1) / f32(out - 1)


def nearest_onnx(position: np.ndarray, size: int, nearest_mode: str) -> np.ndarray:
    """Indices [out] of Resize, mode nearest; onnxruntime takes what is within 1e-6 of the middle for a tie."""
    function = {
        "round_prefer_floor": lambda v: math.ceil(v - 0.5 - 1e-6),
        "round_prefer_ceil": lambda v: math.floor(v + 0.5 + 1e-6),
        "floor": math.floor,
        "ceil": math.ceil,
    }[nearest_mode]
    return np.clip([function(float(v)) for v in position], 0, size - 1)


def linear_onnx(position: np.ndarray, size: int) -> Axis:
    """Two indices and float32 weights of Resize, mode linear; both weights are 1/2 where both indices are the last."""
    position = np.clip(position, f32(0), f32(size - 1))
    first = position.astype(np.int64)
    second = np.minimum(first + 1, size - 1)
    near, far = position - first.astype(f32), second.astype(f32) - position
    same = first == second
    return np.stack([first, second]), np.where(same, f32(0.5), np.stack([far, near])).astype(f32)


def bilinear_onnxruntime(
    x: np.ndarray, rows: Axis, columns: Axis, x_scale, x_zero_point, y_scale, y_zero_point
) -> np.ndarray:
    """Resize, mode linear, between DequantizeLinear and QuantizeLinear: a float32 sum of four, row by row."""
    real = (x.astype(np.int64) - x_zero_point).astype(f32) * f32(x_scale)
    total = None
    for row, row_weight in zip(*rows):
        for column, weight in zip(*columns):
            term = real[:, row][:, :, column] * (weight[None] * row_weight[:, None])[None, ..., None]
            total = term if total is None else total + term
    return saturate(rint(total / f32(y_scale)) + y_zero_point, str(x.dtype))
