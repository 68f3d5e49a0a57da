"""SOFTMAX against its definition, one row at a time in Python."""

from __future__ import annotations

import math

import numpy as np
import pytest

from furiosa.enf.isa import Rounding
from furiosa.runtime.simulator.kernels.softmax import softmax

f32 = np.float32


@pytest.mark.parametrize("rounding", [Rounding.TFLITE, Rounding.ONNXRUNTIME])
@pytest.mark.parametrize("classes", [1, 2, 3, 10, 129, 1001])
@pytest.mark.parametrize("seed", range(4))
def test_softmax(seed: int, classes: int, rounding: int) -> None:
    rng = np.random.default_rng(seed)
    step = math.log(2) / 2 if seed % 2 else rng.uniform(0.01, 0.5)  # powers of two make ties
    large = 1.0 if rounding == Rounding.TFLITE else 1e36 / classes  # onnxruntime scales its table up
    table = np.array([large * math.exp(-step * d) for d in range(256)]).astype(f32)
    x = rng.integers(-20, 20, (9, classes)).astype(np.int8)
    x[0] = -128
    x[1, 0] = 127
    factor = 1 / 256 if rounding == Rounding.TFLITE else 256.0
    out = np.empty((9, classes + 1), np.int8)[:, 1:]
    softmax(x[..., None], table, out[..., None], output_offset=-128, factor=factor, rounding=rounding)
    between = np.empty((3, classes, 3), np.int8)
    inner = x.reshape(3, 3, classes).swapaxes(1, 2)
    softmax(inner, table, between, output_offset=-128, factor=factor, rounding=rounding)
    np.testing.assert_array_equal(between.swapaxes(1, 2).reshape(out.shape), out)
    for row, actual in zip(x.tolist(), out):
        terms = [table[max(row) - v] for v in row]
        total = f32(0)
        for term in terms:
            total = f32(total + term)
        if rounding == Rounding.TFLITE:
            inverse = f32(1) / f32(total * f32(factor))
            y = [int(f32(f32(term * inverse) + f32(0.5))) for term in terms]
        else:
            y = [round(float(term) * factor / float(total)) for term in terms]  # Python rounds half to even
        np.testing.assert_array_equal(actual, np.clip(np.array(y) - 128, -128, 127))


def rows(table: list[float], distances: list[int], factor: float, rounding: int) -> list[int]:
    """The results of one row of those distances from its maximum, with 0 as zero point."""
    x = -np.array([distances]).astype(np.int8)
    out = np.empty(x.shape, np.int8)
    full = np.array(table + [0.0] * (256 - len(table)), f32)
    softmax(x[..., None], full, out[..., None], output_offset=0, factor=factor, rounding=rounding)
    return out[0].tolist()


@pytest.mark.parametrize(
    ("rounding", "factor", "expected"), [(Rounding.TFLITE, 0.4, 3), (Rounding.ONNXRUNTIME, 3.5, 4)]
)
def test_the_sum_is_taken_from_left_to_right(rounding: int, factor: float, expected: int) -> None:
    """After a 1, a thousand terms of 2**-25 vanish one by one; added up before, they would move the quotient off its tie."""
    assert rows([1.0, 2.0**-25], [0] + [1] * 1000, factor, rounding)[0] == expected


def test_onnxruntime_divides_in_float64() -> None:
    """6000161 * 256 / 15133411 is 101.5 less 3e-8, which float32 cannot tell from the tie."""
    assert 512 * 6000161 == 203 * (9133250 + 6000161) - 1
    assert rows([9133250.0, 6000161.0], [0, 1], 256.0, Rounding.ONNXRUNTIME)[1] == 101
