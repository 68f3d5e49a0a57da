"""The numbers that commands carry; the rules themselves are tested against the runtimes in tests/reference."""

from __future__ import annotations

import numpy as np
import pytest

from furiosa.compiler.ldfg import arithmetic
from furiosa.compiler.ldfg.arithmetic import f32


def test_conv_scale_rounds_after_each_step() -> None:
    s_in, s_w, s_out = f32(0.0235), np.array([0.0017, 0.0021], np.float32), f32(0.0471)
    expected = [f32(f32(s_in * w) / s_out) for w in s_w]
    assert arithmetic.conv_scale(s_in, s_w, s_out, 2).tolist() == expected


def test_conv_scale_of_one_weight_scale_serves_all_channels() -> None:
    assert arithmetic.conv_scale(f32(0.5), np.array([0.5], np.float32), f32(0.25), 3).tolist() == [
        1.0,
        1.0,
        1.0,
    ]


@pytest.mark.parametrize(
    "activation, expected",
    [("NONE", (-128, 127)), ("RELU", (-10, 127)), ("RELU6", (-10, 50)), ("RELU_N1_TO_1", (-20, 0))],
)
def test_bounds(activation: str, expected: tuple[int, int]) -> None:
    for rule in (arithmetic.xnnpack_bounds, arithmetic.tflite_bounds):
        assert rule(activation, 0.1, -10, -128, 127) == expected


def test_bounds_round_as_each_runtime_does() -> None:
    # 1 / 0.4 = 2.5: half to even, or away from zero
    assert arithmetic.xnnpack_bounds("RELU_N1_TO_1", 0.4, 0, -128, 127) == (-2, 2)
    assert arithmetic.tflite_bounds("RELU_N1_TO_1", 0.4, 0, -128, 127) == (-3, 3)


def test_xnnpack_add_leaves_extreme_scales_alone() -> None:
    assert arithmetic.xnnpack_add(0.1, 0.1, 0.1) == (1 << 20, 1 << 20, 20)
    assert arithmetic.xnnpack_add(1e-5, 0.1, 0.1) is None
    assert arithmetic.xnnpack_add(100.0, 0.1, 0.1) is None


def test_table_is_indexed_by_the_unsigned_byte() -> None:
    table = arithmetic.table(lambda q: q)
    assert table.view(np.int8)[[0, 1, 127, 128, 255]].tolist() == [0, 1, 127, -128, -1]
