"""QUANTIZE, DEQUANTIZE, TABLE_LOOKUP, COPY and FILL."""

from __future__ import annotations

import numpy as np
import pytest

from furiosa.enf.isa import Rounding
from furiosa.runtime.simulator.kernels import move, quantize, table

f32 = np.float32


@pytest.mark.parametrize("rounding", [Rounding.XNNPACK, Rounding.ONNXRUNTIME])
@pytest.mark.parametrize("seed", range(10))
def test_quantize(seed: int, rounding: int) -> None:
    """By the reciprocal or by a division; on ties, beyond the range, and for numbers that are none."""
    rng = np.random.default_rng(seed)
    scale, zero_point = f32(np.exp(rng.uniform(-5, 2))), int(rng.integers(-128, 128))
    ties = (np.arange(-800, 800) / 4).astype(f32) * scale
    x = np.concatenate([ties, rng.normal(0, 90 * scale, 70000).astype(f32)]).reshape(1, 2, -1, 4)
    out = np.empty(x.shape, np.int8)
    quantize.quantize(x, out, scale=float(scale), zero_point=zero_point, rounding=rounding)
    steps = x * (f32(1) / scale) if rounding == Rounding.XNNPACK else x / scale
    np.testing.assert_array_equal(out, np.clip(np.rint(steps).astype(np.int64) + zero_point, -128, 127))

    special = np.array([np.inf, -np.inf, np.nan, 3e38, -3e38], f32).reshape(1, 1, 1, 5)
    out = np.empty(special.shape, np.int8)
    quantize.quantize(special, out, scale=float(scale), zero_point=zero_point, rounding=rounding)
    assert out.reshape(-1).tolist() == [127, -128, -128, 127, -128]


def test_dequantize() -> None:
    x = np.arange(-128, 128).astype(np.int8).reshape(1, 16, 16, 1)
    for scale, zero_point in ((0.1, 0), (0.007, -128), (3.7, 127)):
        out = np.empty((1, 16, 16, 2), f32)[..., :1]
        quantize.dequantize(x, out, scale=scale, zero_point=zero_point)
        np.testing.assert_array_equal(out, (x.astype(np.int64) - zero_point).astype(f32) * f32(scale))


@pytest.mark.parametrize("dtype", [np.int8, np.uint8])
def test_table_lookup(dtype: type) -> None:
    """The table is indexed by the byte, whatever the types of input and output."""
    rng = np.random.default_rng(0)
    entries = rng.integers(0, 256, 256).astype(np.uint8)
    x = rng.integers(0, 256, (2, 9, 7, 10)).astype(np.uint8).view(dtype)[:, ::2, :, 1:-1]
    out = np.zeros((2, 5, 7, 9), np.int8)[..., 1:]
    table.table_lookup(x, entries[None], out)
    expected = [[[[entries[v & 255] for v in c] for c in b] for b in a] for a in x.tolist()]
    np.testing.assert_array_equal(out.view(np.uint8), expected)


@pytest.mark.parametrize("shape", [(2, 5, 7, 9), (1, 1, 1, 300), (1, 1, 9000, 9)])
def test_table_lookup_by_channel(shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(1)
    entries = rng.integers(0, 256, (shape[-1], 256)).astype(np.uint8)
    x = rng.integers(-128, 128, shape).astype(np.int8)
    for out in (np.zeros(shape, np.int8), np.zeros((*shape[:-1], shape[-1] + 1), np.uint8)[..., 1:]):
        table.table_lookup(x, entries, out)
        expected = [[e[v] for e, v in zip(entries, row)] for row in x.view(np.uint8).reshape(-1, shape[-1])]
        np.testing.assert_array_equal(out.view(np.uint8).reshape(-1, shape[-1]), expected)


def test_copy_and_fill() -> None:
    """Strides on both sides: here a transpose into every second channel."""
    x = np.arange(24, dtype=np.float32).reshape(1, 2, 3, 4)
    out = np.zeros((1, 4, 3, 4), np.float32)
    move.copy(x.transpose(0, 3, 2, 1), out[..., ::2])
    np.testing.assert_array_equal(out[0, :, :, ::2], x[0].transpose(2, 1, 0))
    assert (out[..., 1::2] == 0).all()
    filled = np.zeros((2, 3), np.int8)
    move.fill(filled[:, 1:], value=0x80)
    assert filled.tolist() == [[0, -128, -128]] * 2
