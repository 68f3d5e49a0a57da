"""Pools against windows written out one by one."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from furiosa.enf.isa import Rounding
from furiosa.runtime.simulator.kernels import pool

f32 = np.float32


@st.composite
def windows(draw):
    """(x, out, geometry, clamp): every window reaches the image; x and out are strided views."""

    def size(low: int, high: int) -> int:
        return draw(st.integers(low, high))

    rng = np.random.default_rng(size(0, 2**32 - 1))
    kernel, stride = (size(1, 5), size(1, 5)), (size(1, 4), size(1, 4))
    shape = size(1, 2), size(1, 12), size(1, 12), size(1, 20)
    before = tuple(size(0, k - 1) for k in kernel)
    out = tuple(size(1, (n + b - 1) // s + 1) for n, b, s in zip(shape[1:3], before, stride))
    x = rng.integers(-128, 128, (shape[0], shape[1], shape[2] * 2, shape[3] + 2)).astype(np.int8)[
        :, :, ::2, 1:-1
    ]
    y = np.full((shape[0], *out, shape[3] + 1), 77, np.int8)[..., 1:]
    geometry = {
        "kernel_h": kernel[0],
        "kernel_w": kernel[1],
        "stride_h": stride[0],
        "stride_w": stride[1],
        "pad_top": before[0],
        "pad_left": before[1],
    }
    low, high = sorted((draw(st.integers(-128, 127)), draw(st.integers(-128, 127))))
    return x, y, geometry, {"clamp_min": low, "clamp_max": high}


def each_window(x: np.ndarray, out: np.ndarray, g: dict[str, int], function) -> np.ndarray:
    """function([N, count, C] of the elements inside the image, row by row) for each window."""
    result = np.zeros(out.shape, np.int64)
    for i in range(out.shape[1]):
        for j in range(out.shape[2]):
            top, left = i * g["stride_h"] - g["pad_top"], j * g["stride_w"] - g["pad_left"]
            seen = x[:, max(top, 0) : top + g["kernel_h"], max(left, 0) : left + g["kernel_w"]]
            result[:, i, j] = function(seen.reshape(len(x), -1, x.shape[3]).astype(np.int64))
    return result


@settings(max_examples=80, derandomize=True, deadline=None)
@given(windows())
def test_max_pool2d(case) -> None:
    x, out, geometry, clamp = case
    expected = each_window(x, out, geometry, lambda w: w.max(axis=1))
    pool.max_pool2d(x, out, **geometry, **clamp, dilation_h=1, dilation_w=1)
    np.testing.assert_array_equal(out, np.clip(expected, *clamp.values()))


def test_max_pool2d_of_the_lowest_values() -> None:
    """Padding is no value: a window of -128 gives -128."""
    x, out = np.full((1, 2, 2, 3), -128, np.int8), np.zeros((1, 3, 3, 3), np.int8)
    geometry = dict.fromkeys(("kernel_h", "kernel_w"), 2) | dict.fromkeys(
        ("stride_h", "stride_w", "pad_top", "pad_left"), 1
    )
    pool.max_pool2d(x, out, **geometry, dilation_h=1, dilation_w=1, clamp_min=-128, clamp_max=127)
    assert (out == -128).all()


def test_max_pool2d_with_dilation() -> None:
    """Taps three rows and two columns apart: the outputs of one pool over every third row and second column, interleaved."""
    x = np.random.default_rng(3).integers(-128, 128, (2, 12, 10, 5)).astype(np.int8)
    out = np.zeros((2, 9, 8, 5), np.int8)
    geometry = dict.fromkeys(("kernel_h", "kernel_w"), 2)
    geometry |= dict.fromkeys(("stride_h", "stride_w", "dilation_h", "dilation_w"), 1)
    geometry |= dict.fromkeys(("pad_top", "pad_left"), 0) | {"clamp_min": -128, "clamp_max": 127}
    pool.max_pool2d(x, out, **(geometry | {"dilation_h": 3, "dilation_w": 2}))
    for i in range(3):
        for j in range(2):
            part = np.ascontiguousarray(out[:, i::3, j::2])
            pool.max_pool2d(x[:, i::3, j::2], part, **geometry)
            np.testing.assert_array_equal(out[:, i::3, j::2], part)


def average(x, out, geometry, clamp, rounding: int, **fields) -> None:
    defaults = dict.fromkeys(("input_zero_point", "float_zero_point", "output_offset", "count_padding"), 0)
    defaults |= {"input_scale": 1.0, "output_scale": 1.0}
    pool.average_pool2d(x, out, rounding=rounding, **geometry, **clamp, **(defaults | fields))


@settings(max_examples=80, derandomize=True, deadline=None)
@given(windows())
def test_average_pool2d_tflite(case) -> None:
    """Integer means: half away from zero; of values that were uint8, half up."""
    x, out, geometry, clamp = case

    def half_away(window: np.ndarray) -> np.ndarray:
        total, count = window.sum(axis=1), window.shape[1]
        return np.sign(total) * ((2 * np.abs(total) + count) // (2 * count))

    def half_up(window: np.ndarray) -> np.ndarray:
        return (2 * window.sum(axis=1) + window.shape[1]) // (2 * window.shape[1])

    for rounding, rule in ((Rounding.TFLITE, half_away), (Rounding.TFLITE_UINT8, half_up)):
        average(x, out, geometry, clamp, rounding)
        np.testing.assert_array_equal(out, np.clip(each_window(x, out, geometry, rule), *clamp.values()))


@settings(max_examples=80, derandomize=True, deadline=None)
@given(
    windows(),
    st.floats(2**-6, 4, width=32),
    st.floats(2**-6, 4, width=32),
    st.integers(-128, 127),
    st.sampled_from([0, 3, 200]),
    st.sampled_from([0, -128]),
    st.booleans(),
)
def test_average_pool2d_onnxruntime(
    case, input_scale, output_scale, zero_point, added, offset, count_padding
) -> None:
    """A float32 sum in the order of the window."""
    x, out, geometry, clamp = case

    def rule(window: np.ndarray) -> np.ndarray:
        real = (window - zero_point).astype(f32) * f32(input_scale)
        total = np.zeros((len(real), real.shape[2]), f32)
        for i in range(real.shape[1]):
            total = total + real[:, i]
        count = geometry["kernel_h"] * geometry["kernel_w"] if count_padding else real.shape[1]
        return np.rint(total / f32(count) / f32(output_scale) + f32(added)).astype(np.int64) + offset

    average(
        x,
        out,
        geometry,
        clamp,
        Rounding.ONNXRUNTIME,
        input_zero_point=zero_point,
        input_scale=input_scale,
        output_scale=output_scale,
        float_zero_point=added,
        output_offset=offset,
        count_padding=int(count_padding),
    )
    np.testing.assert_array_equal(out, np.clip(each_window(x, out, geometry, rule), *clamp.values()))
