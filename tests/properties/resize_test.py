"""RESIZE_BILINEAR, RESIZE_NEAREST_NEIGHBOR and Resize."""

from __future__ import annotations

import numpy as np
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.properties.harness import Machine, bounded, check
from tests.properties.strategies import any_shapes, machines, seeds, together, values
from tests.reference import onnx_op, resize, tflite_op
from tests.reference.rounding import f32, rint, saturate

MODES = ("half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel", "half_pixel_symmetric")
NEAREST = ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")
FACTORS = (0.25, 0.3, 0.5, 0.6, 0.8, 1, 1.5, 1.7, 2, 2.2, 3, 4)
MOST = 1 << 17  # elements of an output


def _sizes() -> st.SearchStrategy[list[int]]:
    return st.lists(st.integers(1, 40), min_size=2, max_size=2)


@bounded(50)
@given(
    machine=machines(),
    q=together(1),
    shape=any_shapes(4, 4),
    size=_sizes(),
    linear=st.booleans(),
    corners=st.booleans(),
    centers=st.booleans(),
    seed=seeds(),
)
def test_tflite(machine: Machine, q: tuple, shape: tuple, size: list, linear, corners, centers, seed) -> None:
    (qx,) = q
    n, h, w, c = shape
    assume(n * size[0] * size[1] * c <= MOST)
    name, kind = (
        ("RESIZE_BILINEAR", "ResizeBilinear")
        if linear
        else ("RESIZE_NEAREST_NEIGHBOR", "ResizeNearestNeighbor")
    )
    option = tflite_op.options(f"{kind}Options", alignCorners=corners, halfPixelCenters=centers)
    inputs = [tflite_op.Operand(shape, *qx), tflite_op.Operand((2,), "int32", data=np.array(size, np.int32))]
    model = tflite_op.build(name, inputs, tflite_op.Operand((n, *size, c), *qx), option, 3)

    def rule(x: np.ndarray) -> np.ndarray:
        if linear:
            axes = [resize.linear_xnnpack(d, o, corners, centers) for d, o in zip((h, w), size)]
            return resize.bilinear_xnnpack(x, *axes)
        rows, columns = (resize.nearest_tflite(d, o, corners, centers) for d, o in zip((h, w), size))
        return x[:, rows][:, :, columns]

    check(model, [values(qx.dtype, shape, seed)], rule, machine=machine)


@bounded(60)
@given(
    machine=machines(),
    q=together(2),
    same=st.booleans(),
    shape=any_shapes(4, 4),
    size=_sizes(),
    factors=st.none() | st.tuples(st.sampled_from(FACTORS), st.sampled_from(FACTORS)),
    linear=st.booleans(),
    mode=st.sampled_from(MODES),
    nearest_mode=st.sampled_from(NEAREST),
    seed=seeds(),
)
def test_onnx(
    machine: Machine, q: tuple, same, shape: tuple, size: list, factors, linear, mode, nearest_mode, seed
) -> None:
    qx, qy = q if not same else (q[0], q[0])
    n, c, h, w = shape
    if factors is None:
        scales = np.array(size, f32) / np.array([h, w], f32)
        extra = [np.zeros(0, f32), np.zeros(0, f32), np.array([n, c, *size], np.int64)]
    else:
        scales = np.array(factors, f32)
        size = [int(f32(d) * s) for d, s in zip((h, w), scales)]
        extra = [np.zeros(0, f32), np.array([1, 1, *scales], f32)]
    assume(min(size) > 0 and n * c * size[0] * size[1] <= MOST)
    if size == [h, w]:  # then onnxruntime copies, whatever the scales are
        scales = np.ones(2, f32)
    fields = {"mode": "linear" if linear else "nearest", "coordinate_transformation_mode": mode}
    chain = [("Resize", {**fields, "nearest_mode": nearest_mode, "inputs": extra})]
    output = onnx_op.Operand((n, c, *size), *qy)
    model = onnx_op.build_qdq(chain, [onnx_op.Operand(shape, *qx)], output, opset=19)

    def rule(x: np.ndarray) -> np.ndarray:
        x = x.transpose(0, 2, 3, 1)
        at = [resize.positions_onnx(mode, d, o, s, (0, 1)) for d, o, s in zip(x.shape[1:3], size, scales)]
        if linear:
            axes = [resize.linear_onnx(p, d) for p, d in zip(at, x.shape[1:3])]
            y = resize.bilinear_onnxruntime(x, *axes, *qx[1:], *qy[1:])
        else:
            rows, columns = (resize.nearest_onnx(p, d, nearest_mode) for p, d in zip(at, x.shape[1:3]))
            real = (x[:, rows][:, :, columns].astype(np.int64) - qx.zero_point).astype(f32) * f32(qx.scale)
            y = saturate(rint(real / f32(qy.scale)) + qy.zero_point, qy.dtype)
        return y.transpose(0, 3, 1, 2)

    check(model, [values(qx.dtype, shape, seed)], rule, machine=machine)


@bounded(8)
@given(machine=machines((None,)), q=together(2), linear=st.booleans(), seed=seeds())
def test_a_batch(machine: Machine, q: tuple, linear: bool, seed: int) -> None:
    qx, qy = q
    extra = [np.zeros(0, f32), np.array([1, 1, 2, 1.5], f32)]
    chain = [("Resize", {"mode": "linear" if linear else "nearest", "inputs": extra})]
    model = onnx_op.build_qdq(
        chain, [onnx_op.Operand((1, 3, 5, 4), *qx)], onnx_op.Operand((1, 3, 10, 6), *qy)
    )
    check(model, [values(qx.dtype, (3, 3, 5, 4), seed)], machine=machine, batch_size=3)


def test_an_old_opset() -> None:
    """Resize of opset 10 has no coordinate_transformation_mode, and another rule of the nearest value."""
    for factor in (0.3, 0.5, 1.7, 2):
        for mode in ("nearest", "linear"):
            operand = onnx_op.Operand((1, 4, 9, 11), "int8", 0.1, 3)
            extra = [np.array([1, 1, factor, 2], f32)]
            output = onnx_op.Operand((1, 4, int(9 * factor), 22), "int8", 0.1, 3)
            model = onnx_op.build_qdq(
                [("Resize", {"mode": mode, "inputs": extra})], [operand], output, opset=10
            )
            check(model, [values("int8", operand.shape, 1)])
