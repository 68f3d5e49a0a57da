"""Where the outputs of a resizing lie in its input, in the reference runtimes' own arithmetic; stated in tests/reference/resize.py.

One axis at a time.  Only single float32 and float64 operations, so the tables are the same on every machine.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from furiosa.compiler.dfg.graph import Tensor
from furiosa.compiler.ldfg.lowering import Lowering

f32 = np.float32
FIXED_ONE = 2048  # XNNPACK's weights of one axis have 11 bits


class Axis(NamedTuple):
    """Which input rows (or columns) each output sees, int32 [taps, out], with what weights, float32 [taps, out]."""

    indices: np.ndarray
    weights: np.ndarray


def emit(low: Lowering, x: Tensor, y: Tensor, rows: Axis, columns: Axis, **attributes: float) -> None:
    """Resizes x [N, H, W, C] to y."""
    tables = [
        low.constant(f"{y.name}/rows", rows.indices),
        low.constant(f"{y.name}/row_weights", rows.weights),
        low.constant(f"{y.name}/columns", columns.indices),
        low.constant(f"{y.name}/column_weights", columns.weights),
    ]
    low.emit_to("npu.resize", [x, *tables], y, **{"clamp_min": -128, "clamp_max": 127, **attributes})


def nearest(indices: np.ndarray, size: int) -> Axis:
    """One tap an output, clipped to the input."""
    clipped = np.clip(indices, 0, size - 1).astype(np.int32).reshape(1, -1)
    return Axis(clipped, np.full(clipped.shape, FIXED_ONE, f32))


def tflite_nearest(size: int, out: int, align_corners: bool, half_pixel_centers: bool) -> Axis:
    """RESIZE_NEAREST_NEIGHBOR of LiteRT's builtin kernel."""
    stretched = align_corners and out > 1
    scale = f32(size - 1) / f32(out - 1) if stretched else f32(size) / f32(out)
    position = (np.arange(out, dtype=f32) + f32(0.5 if half_pixel_centers else 0)) * scale
    return nearest(np.floor(position.astype(float) + (0.5 if align_corners else 0)), size)


def tflite_linear(size: int, out: int, align_corners: bool, half_pixel_centers: bool) -> Axis:
    """RESIZE_BILINEAR of XNNPACK: weights of 11 bits."""
    stretched = align_corners and out > 1
    scale = f32(size - stretched) / f32(out - stretched)
    position = np.arange(out, dtype=f32) * scale
    if half_pixel_centers and not align_corners:
        position = np.clip(position + (f32(0.5) * scale - f32(0.5)), f32(0), f32(size - 1))
    first = position.astype(np.int32)
    second = np.rint((position - first.astype(f32)) * f32(FIXED_ONE))
    indices = np.stack([first, np.minimum(first + 1, size - 1)]).astype(np.int32)
    return Axis(indices, np.stack([f32(FIXED_ONE) - second, second]))


def onnx_positions(
    mode: str, size: int, out: int, scale: np.float32, roi: tuple[float, float]
) -> np.ndarray | None:
    """float32 [out]: where each output lies by ``coordinate_transformation_mode``; None for a mode that is not known."""
    x = np.arange(out, dtype=f32)
    if scale == 1:
        return x
    match mode:
        case "asymmetric":
            return x / scale
        case "pytorch_half_pixel" if out == 1:
            return np.zeros(1, f32)
        case "half_pixel" | "pytorch_half_pixel":
            return (x + f32(0.5)) / scale - f32(0.5)
        case "align_corners":
            return np.zeros(1, f32) if out == 1 else x * f32(size - 1) / f32(out - 1)
        case "half_pixel_symmetric":
            offset = f32(size) / f32(2) * (f32(1) - f32(out) / (scale * f32(size)))
            return (float(offset) + (x.astype(float) + 0.5) / float(scale) - 0.5).astype(f32)
        case "tf_crop_and_resize":
            start, end, last = f32(roi[0]), f32(roi[1]), f32(size - 1)
            if out == 1:
                return np.full(1, f32(0.5) * (start + end) * last, f32)
            return start * last + x * (end - start) * last / f32(out - 1)
    return None


_TIE = 1e-6  # what is as near to the middle is a tie for onnxruntime
NEAREST_MODES = {
    "round_prefer_floor": lambda v: math.ceil(v - 0.5 - _TIE),
    "round_prefer_ceil": lambda v: math.floor(v + 0.5 + _TIE),
    "floor": math.floor,
    "ceil": math.ceil,
}


def onnx_nearest(position: np.ndarray, size: int, nearest_mode: str) -> Axis:
    """Resize of onnxruntime, mode nearest."""
    function = NEAREST_MODES[nearest_mode]
    return nearest(np.array([function(v) for v in position.tolist()]), size)


def onnx_linear(position: np.ndarray, size: int) -> Axis:
    """Resize of onnxruntime, mode linear; both weights are 1/2 where both taps are the last."""
    position = np.clip(position, f32(0), f32(size - 1))
    first = position.astype(np.int32)
    second = np.minimum(first + 1, size - 1).astype(np.int32)
    weights = np.stack([second.astype(f32) - position, position - first.astype(f32)])
    return Axis(np.stack([first, second]), np.where(first == second, f32(0.5), weights).astype(f32))
