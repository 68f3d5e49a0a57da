"""ADD, MUL, MAXIMUM and MINIMUM: all pairs of int8 values, against the formulas of the instruction table written out."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from furiosa.enf.isa import Rounding
from furiosa.runtime.simulator.kernels import blocks, elementwise

f32 = np.float32
A, B = np.broadcast_arrays(*np.ix_(np.arange(-128, 128), np.arange(-128, 128)))  # all pairs
INT8 = st.integers(-128, 127)
SCALE = st.floats(2**-9, 2**7, width=32)


def run(kernel, **parameters) -> np.ndarray:
    """The kernel on all pairs, as a tile [1,256,1,256] whose second operand is broadcast by a stride of 0."""
    a = np.ascontiguousarray(A.astype(np.int8))[None, :, None]
    b = np.broadcast_to(np.arange(-128, 128).astype(np.int8), a.shape)
    out = np.empty((1, 256, 1, 259), np.int8)[..., 1:257]
    kernel(a, b, out, **parameters)
    return out[0, :, 0]


def add(rounding: int, zero_points: tuple[int, int, int], clamp: tuple[int, int], **fields) -> np.ndarray:
    integers = (
        "a_multiplier",
        "b_multiplier",
        "shift",
        "a_shift",
        "b_shift",
        "output_multiplier",
        "subtract",
    )
    defaults = dict.fromkeys((*integers, "bias", "raw_offset"), 0)
    defaults |= {"a_scale": 1.0, "b_scale": 1.0, "output_scale": 1.0}
    za, zb, zy = zero_points
    return run(
        elementwise.add,
        rounding=rounding,
        a_zero_point=za,
        b_zero_point=zb,
        output_zero_point=zy,
        clamp_min=min(clamp),
        clamp_max=max(clamp),
        **(defaults | fields),
    )


@settings(max_examples=40, derandomize=True, deadline=None)
@given(
    st.tuples(INT8, INT8, INT8),
    st.tuples(INT8, INT8),
    st.integers(-(2**21), 2**21),
    st.integers(1, 2**21),
    st.integers(12, 30),
)
def test_add_xnnpack(zero_points, clamp, multiplier_a, multiplier_b, shift) -> None:
    za, zb, zy = zero_points
    y = ((A - za) * multiplier_a + (B - zb) * multiplier_b + (1 << (shift - 1)) >> shift) + zy
    actual = add(
        Rounding.XNNPACK,
        zero_points,
        clamp,
        a_multiplier=multiplier_a,
        b_multiplier=multiplier_b,
        shift=shift,
    )
    np.testing.assert_array_equal(actual, np.clip(y, min(clamp), max(clamp)))


@settings(max_examples=40, derandomize=True, deadline=None)
@given(
    st.tuples(INT8, INT8, INT8),
    st.tuples(INT8, INT8),
    st.lists(st.integers(2**30, 2**31 - 1), min_size=3, max_size=3),
    st.lists(st.integers(0, 31), min_size=3, max_size=3),
    st.booleans(),
)
def test_add_tflite(zero_points, clamp, multipliers, shifts, subtract) -> None:
    """All pairs; the formula in exact fractions for some of them."""
    za, zb, zy = zero_points
    actual = add(
        Rounding.TFLITE,
        zero_points,
        clamp,
        **dict(zip(("a_multiplier", "b_multiplier", "output_multiplier"), multipliers)),
        **dict(zip(("a_shift", "b_shift", "shift"), shifts)),
        subtract=int(subtract),
    )

    def scaled(value: int, place: int) -> int:
        high = math.floor(Fraction(value * multipliers[place], 1 << 31) + Fraction(1, 2))
        size = math.floor(Fraction(abs(high), 1 << shifts[place]) + Fraction(1, 2))
        return size if high >= 0 else -size

    for a, b in ((-128, 127), (127, -128), (0, 0), (za, 5), (-77, zb), (31, 64)):
        first, second = scaled((a - za) << 20, 0), scaled((b - zb) << 20, 1)
        y = scaled(first - second if subtract else first + second, 2) + zy
        assert actual[a + 128, b + 128] == np.clip(y, min(clamp), max(clamp))


@pytest.mark.parametrize(("multiplier", "shift"), [(2**23 + 1, 24), (2**24, 25), (2**31 - 1, 32)])
def test_add_xnnpack_beyond_32_bits(multiplier: int, shift: int) -> None:
    """Multipliers that no compiler emits still compute the formula, not its remainder."""
    y = (A * multiplier + B * multiplier + (1 << (shift - 1))) >> shift
    fields = {"a_multiplier": multiplier, "b_multiplier": multiplier, "shift": shift}
    actual = add(Rounding.XNNPACK, (0, 0, 0), (-128, 127), **fields)
    np.testing.assert_array_equal(actual, np.clip(y, -128, 127))


@settings(max_examples=40, derandomize=True, deadline=None)
@given(SCALE, SCALE, st.floats(-300, 300, width=32), st.sampled_from([0, 128]), st.tuples(INT8, INT8))
def test_add_onnxruntime(a_scale, b_scale, bias, offset, clamp) -> None:
    """One rounding for each multiply-add, here by longer arithmetic than float64."""
    inner = ((B + offset).astype(np.longdouble) * b_scale + bias).astype(f32)
    y = np.rint(((A + offset).astype(np.longdouble) * a_scale + inner).astype(f32)).astype(np.int64) - offset
    fields = {"a_scale": a_scale, "b_scale": b_scale, "bias": bias, "raw_offset": offset}
    actual = add(Rounding.ONNXRUNTIME, (0, 0, 0), clamp, **fields)
    np.testing.assert_array_equal(actual, np.clip(y, min(clamp), max(clamp)))


def test_add_onnxruntime_rounds_once() -> None:
    """17 * scale + bias is just below 11.5; the product rounded by itself would make it the tie, which goes to 12."""
    scale, bias = float.fromhex("0x1.3acab4p+0"), float.fromhex("-0x1.2ceecp+3")
    assert np.rint(f32(17) * f32(scale) + f32(bias)) == 12
    y = add(Rounding.ONNXRUNTIME, (0, 0, 0), (-128, 127), a_scale=0.0, b_scale=scale, bias=bias)
    assert y[0, 128 + 17] == 11


@settings(max_examples=40, derandomize=True, deadline=None)
@given(SCALE, SCALE, SCALE, st.sampled_from([1, -1]), st.tuples(INT8, INT8, INT8), st.tuples(INT8, INT8))
def test_add_qdq(a_scale, b_scale, output_scale, sign, zero_points, clamp) -> None:
    za, zb, zy = zero_points
    real = (A - za).astype(f32) * f32(a_scale) + (B - zb).astype(f32) * f32(sign * b_scale)
    y = np.rint(real / f32(output_scale)).astype(np.int64) + zy
    fields = {"a_scale": a_scale, "b_scale": sign * b_scale, "output_scale": output_scale}
    actual = add(Rounding.QDQ, zero_points, clamp, **fields)
    np.testing.assert_array_equal(actual, np.clip(y, min(clamp), max(clamp)))


@settings(max_examples=40, derandomize=True, deadline=None)
@given(
    st.floats(2**-14, 1, width=32),
    st.tuples(INT8, INT8),
    st.integers(0, 255),
    st.integers(-128, 127),
    st.tuples(INT8, INT8),
)
def test_mul(scale, zero_points, float_zero_point, offset, clamp) -> None:
    za, zb = zero_points
    product = ((A - za) * (B - zb)).astype(f32) * f32(scale) + f32(float_zero_point)
    y = np.rint(product).astype(np.int64) + offset
    actual = run(
        elementwise.mul,
        rounding=Rounding.ONNXRUNTIME,
        a_scale=1.0,
        b_scale=1.0,
        output_scale=1.0,
        a_zero_point=za,
        b_zero_point=zb,
        scale=scale,
        float_zero_point=float_zero_point,
        output_offset=offset,
        clamp_min=min(clamp),
        clamp_max=max(clamp),
    )
    np.testing.assert_array_equal(actual, np.clip(y, min(clamp), max(clamp)))


@settings(max_examples=40, derandomize=True, deadline=None)
@given(SCALE, SCALE, SCALE, st.tuples(INT8, INT8, INT8), st.tuples(INT8, INT8))
def test_mul_qdq(a_scale, b_scale, output_scale, zero_points, clamp) -> None:
    za, zb, zy = zero_points
    real = (A - za).astype(f32) * f32(a_scale) * ((B - zb).astype(f32) * f32(b_scale))
    y = np.rint(real / f32(output_scale)).astype(np.int64) + zy
    actual = run(
        elementwise.mul,
        rounding=Rounding.QDQ,
        a_scale=a_scale,
        b_scale=b_scale,
        output_scale=output_scale,
        a_zero_point=za,
        b_zero_point=zb,
        scale=0.0,
        float_zero_point=0,
        output_offset=zy,
        clamp_min=min(clamp),
        clamp_max=max(clamp),
    )
    np.testing.assert_array_equal(actual, np.clip(y, min(clamp), max(clamp)))


def test_maximum_and_minimum() -> None:
    np.testing.assert_array_equal(run(elementwise.maximum), np.maximum(A, B))
    np.testing.assert_array_equal(run(elementwise.minimum), np.minimum(A, B))


@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (2, 3, 5, 7), (3, 1, 1, 70000), (1, 300, 300, 1)])
def test_blocks_cover_everything_once(shape: tuple[int, ...]) -> None:
    """Contiguous or not, every element lies in exactly one block, at one place in all arrays."""
    for strided in (False, True):
        a = np.zeros((*shape[:-1], shape[-1] + strided), np.int64)[..., : shape[-1]]
        b = np.arange(a.size).reshape(shape)
        for x, y in blocks.blocks(a, b):
            assert x.shape == y.shape
            x += y + 1
        np.testing.assert_array_equal(a, b + 1)
