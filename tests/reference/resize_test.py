"""RESIZE_* of LiteRT and Resize of onnxruntime, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest

from tests.reference import onnx_op, resize, tflite_op
from tests.reference.random_case import RandomCase
from tests.reference.rounding import f32, rint, saturate

DTYPES = ["int8", "uint8"]
MODES = ("half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel", "tf_crop_and_resize")
NEAREST = ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")
ROI = np.array([0, 0, 0.1, 0.2, 1, 1, 0.9, 0.7], f32)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("seed", range(24))
def test_tflite(seed: int, dtype: str) -> None:
    case = RandomCase(seed, dtype)
    x = case.tensor(*(int(v) for v in case.rng.integers(1, [3, 20, 20, 8])))
    size = case.rng.integers(1, 40, 2).astype(np.int32)
    corners, centers = bool(seed & 1), bool(seed & 2)
    operand = tflite_op.Operand(x.shape, dtype, 0.1, 3)
    output = tflite_op.Operand((len(x), *size, x.shape[3]), dtype, 0.1, 3)
    inputs = [operand, tflite_op.Operand((2,), "int32", data=size)]
    for name, kind in (
        ("RESIZE_BILINEAR", "ResizeBilinear"),
        ("RESIZE_NEAREST_NEIGHBOR", "ResizeNearestNeighbor"),
    ):
        option = tflite_op.options(f"{kind}Options", alignCorners=corners, halfPixelCenters=centers)
        actual = tflite_op.run(tflite_op.build(name, inputs, output, option, 3), x)
        if name == "RESIZE_BILINEAR":
            axes = [resize.linear_xnnpack(x.shape[1 + i], int(size[i]), corners, centers) for i in (0, 1)]
            expected = resize.bilinear_xnnpack(x, *axes)
        else:
            rows, columns = (
                resize.nearest_tflite(x.shape[1 + i], int(size[i]), corners, centers) for i in (0, 1)
            )
            expected = x[:, rows][:, :, columns]
        np.testing.assert_array_equal(actual, expected)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("mode", [*MODES, "half_pixel_symmetric"])
@pytest.mark.parametrize("seed", range(16))
def test_onnx(seed: int, mode: str, dtype: str) -> None:
    case = RandomCase(seed, dtype)
    x = case.tensor(*(int(v) for v in case.rng.integers(1, [3, 12, 12, 5])))
    n, h, w, c = x.shape
    kind, nearest_mode = ("nearest", "linear")[seed & 1], NEAREST[seed % 4 if seed & 2 else (seed // 4) % 4]
    roi = ROI if mode == "tf_crop_and_resize" else np.zeros(0, f32)
    scales = case.rng.choice([0.5, 1, 1.5, 2, 3, 0.3, 0.6, 0.8, 1.7, 2.2], 2).astype(f32)
    size = [max(int(f32(d) * s), 1) for d, s in zip((h, w), scales)]
    extra = [roi, np.array([1, 1, *scales], f32)]
    if seed & 4 or 1 in size:
        size = [int(v) for v in case.rng.integers(1, 25, 2)]
        scales = np.array(size, f32) / np.array([h, w], f32)
        extra = [roi, np.zeros(0, f32), np.array([n, c, *size], np.int64)]
    if size == [h, w]:  # then onnxruntime copies, whatever the scales are
        scales = np.ones(2, f32)
    sx, zx, sy, zy = case.scale(), case.zero_point(), case.scale(), case.zero_point()
    fields = {"mode": kind, "coordinate_transformation_mode": mode, "nearest_mode": nearest_mode}
    operand, output = (
        onnx_op.Operand((n, c, h, w), dtype, sx, zx),
        onnx_op.Operand((n, c, *size), dtype, sy, zy),
    )
    model = onnx_op.build_qdq([("Resize", {**fields, "inputs": extra})], [operand], output, opset=19)
    actual = onnx_op.run(model, np.ascontiguousarray(x.transpose(0, 3, 1, 2))).transpose(0, 2, 3, 1)
    positions = [
        resize.positions_onnx(mode, d, o, s, (ROI[2 + i], ROI[6 + i]))
        for i, (d, o, s) in enumerate(zip((h, w), size, scales))
    ]
    if kind == "linear":
        axes = [resize.linear_onnx(p, d) for p, d in zip(positions, (h, w))]
        expected = resize.bilinear_onnxruntime(x, *axes, sx, zx, sy, zy)
    else:
        rows, columns = (resize.nearest_onnx(p, d, nearest_mode) for p, d in zip(positions, (h, w)))
        real = (x[:, rows][:, :, columns].astype(np.int64) - zx).astype(f32) * f32(sx)
        expected = saturate(rint(real / f32(sy)) + zy, dtype)
    np.testing.assert_array_equal(actual, expected)
