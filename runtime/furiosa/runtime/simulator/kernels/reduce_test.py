"""REDUCE and SUM against their definitions in Python integers and single float32 steps."""

from __future__ import annotations

import itertools
import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from furiosa.enf.isa import Reduction
from furiosa.runtime.simulator.kernels.reduce import reduce, sum_of_tensors

f32 = np.float32


@st.composite
def strided(draw: st.DrawFn) -> np.ndarray:
    """int8 of four dimensions, every second element of a larger array, some of its dimensions swapped."""
    rng = np.random.default_rng(draw(st.integers(0, 999)))
    shape = draw(st.tuples(*[st.integers(1, 5)] * 4))
    x = rng.integers(-128, 128, [2 * d for d in shape]).astype(np.int8)
    return x[::2, 1::2, ::2, 1::2].transpose(draw(st.permutations(range(4))))


@settings(max_examples=200, deadline=None, derandomize=True)
@given(
    x=strided(),
    kept=st.tuples(*[st.booleans()] * 4),
    reduction=st.sampled_from(range(len(Reduction.NAMES))),
    zero_point=st.integers(-128, 127),
    numbers=st.tuples(*[st.floats(2**-6, 8, width=32)] * 3),
    bias=st.floats(-100, 100, width=32),
    offset=st.integers(-128, 127),
    clamp=st.lists(st.integers(-128, 127), min_size=2, max_size=2).map(sorted),
)
def test_reduce(x, kept, reduction, zero_point, numbers, bias, offset, clamp) -> None:
    scale, divisor, output_scale = numbers
    out = np.full([d if k else 1 for d, k in zip(x.shape, kept)], 99, np.int8)
    reduce(
        x,
        out,
        reduction=reduction,
        input_zero_point=zero_point,
        scale=scale,
        divisor=divisor,
        output_scale=output_scale,
        bias=bias,
        output_offset=offset,
        clamp_min=clamp[0],
        clamp_max=clamp[1],
    )
    for place in itertools.product(*map(range, out.shape)):
        part = x[tuple(i if k else slice(None) for i, k in zip(place, kept))]
        d = [v - zero_point for v in part.reshape(-1).tolist()]
        if reduction == Reduction.L2:
            r = f32(math.sqrt(float(f32(sum(v * v for v in d)))))
        else:
            r = f32({Reduction.SUM: sum, Reduction.MAX: max, Reduction.MIN: min}[reduction](d))
        v = f32(f32(f32(f32(r * f32(scale)) / f32(divisor)) / f32(output_scale)) + f32(bias))
        assert out[place] == min(max(round(float(v)) + offset, clamp[0]), clamp[1])


def test_sum_is_taken_in_order_in_float32() -> None:
    """2**24 + 1 + 1 is 2**24 from left to right, and 2**24 + 2 from right to left."""
    scale = np.array([2.0**24, 1, 1], f32)
    zero_point = np.array([0, 5, -3], np.int32)
    x = np.array([1, 6, -2], np.int8).reshape(3, 1, 1)
    common = {
        "divisor": 1.0,
        "output_scale": 2.0,
        "output_zero_point": 0,
        "clamp_min": -128,
        "clamp_max": 127,
    }
    for order, expected in (([0, 1, 2], 0), ([2, 1, 0], 1)):
        out = np.zeros((1, 1), np.int8)
        whole = [*order, 0]  # the large one once more, to be taken off
        scales = np.append(scale[order], f32(-(2.0**24)))
        sum_of_tensors(x[whole], scales, zero_point[whole], out, **common)
        assert out[0, 0] == expected


def test_a_mean_divides_before_the_output_scale() -> None:
    x = np.array([[[3]], [[4]], [[4]]], np.int8)
    out = np.zeros((1, 1), np.int8)
    ones, zeros = np.ones(3, f32), np.zeros(3, np.int32)
    sum_of_tensors(
        x,
        ones,
        zeros,
        out,
        divisor=3.0,
        output_scale=0.5,
        output_zero_point=10,
        clamp_min=-128,
        clamp_max=127,
    )
    assert out[0, 0] == 17  # 11 / 3 / 0.5 = 7.33
