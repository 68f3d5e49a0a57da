"""RESIZE against a plain statement of its rule, one output at a time."""

from __future__ import annotations

import math

import numpy as np
import pytest

from furiosa.enf.isa import Rounding
from furiosa.runtime.simulator.kernels import resize as kernel

f32 = np.float32
rng = np.random.default_rng(5)


def _plain(x: np.ndarray, tables: list[np.ndarray], p: dict[str, float]) -> np.ndarray:
    rows, row_weights, columns, column_weights = tables
    out = np.zeros((x.shape[0], rows.shape[1], columns.shape[1], x.shape[3]), np.int8)
    for n, i, j, c in np.ndindex(out.shape):
        total: float = 0 if p["rounding"] == Rounding.XNNPACK else f32(0)
        for a in range(len(rows)):
            for b in range(len(columns)):
                row = min(max(int(rows[a, i]) - p["row_offset"], 0), x.shape[1] - 1)
                column = min(max(int(columns[b, j]), 0), x.shape[2] - 1)
                value, weight = int(x[n, row, column, c]), row_weights[a, i] * column_weights[b, j]
                if p["rounding"] == Rounding.XNNPACK:
                    total += value * int(weight)
                else:
                    total += f32(f32(f32(value - p["input_zero_point"]) * f32(p["input_scale"])) * weight)
        if p["rounding"] == Rounding.XNNPACK:
            y = math.floor((total + 2**21) / 2**22)
        else:
            y = int(np.rint(f32(total / f32(p["output_scale"])))) + p["output_zero_point"]
        out[n, i, j, c] = min(max(y, p["clamp_min"]), p["clamp_max"])
    return out


def _tables(taps: int, size: int, out: int, *, fixed: bool) -> tuple[np.ndarray, np.ndarray]:
    indices = rng.integers(-2, size + 2, (taps, out)).astype(np.int32)
    if taps == 1:
        return indices, np.full((1, out), 2048 if fixed else 1, f32)
    first = rng.integers(0, 2049, out) if fixed else rng.uniform(0, 1, out).astype(f32)
    return indices, np.stack([(2048 if fixed else 1) - first, first]).astype(f32)


@pytest.mark.parametrize("rounding", [Rounding.XNNPACK, Rounding.QDQ])
@pytest.mark.parametrize("taps", [1, 2])
@pytest.mark.parametrize("block", [1, 1 << 18])
def test_resize(rounding: int, taps: int, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel, "BLOCK", block)
    x = rng.integers(-128, 128, (2, 5, 4, 3)).astype(np.int8)
    fixed = rounding == Rounding.XNNPACK
    tables = [*_tables(taps, 5, 9, fixed=fixed), *_tables(taps, 4, 6, fixed=fixed)]
    p = {"row_offset": 1, "input_zero_point": 7, "output_zero_point": -5, "input_scale": 0.07}
    p |= {"output_scale": 0.05, "clamp_min": -90, "clamp_max": 100, "rounding": rounding}
    out = np.zeros((2, 9, 6, 3), np.int8)
    kernel.resize(x, *tables, out, **p)
    np.testing.assert_array_equal(out, _plain(x, tables, p))


def test_tables_of_strangers_read_within_the_tile() -> None:
    """Whatever the tables hold, nothing outside the input is read and nothing is raised."""
    x, out = np.ones((1, 2, 2, 1), np.int8), np.zeros((1, 3, 3, 1), np.int8)
    indices = np.array([[-(2**31), 2**31 - 1, 0]] * 2, np.int32)
    weights = np.array([[np.nan, np.inf, -np.inf]] * 2, f32)
    p = {"row_offset": 2**32 - 1, "input_zero_point": 0, "output_zero_point": 0, "input_scale": 1.0}
    p |= {"output_scale": 1.0, "clamp_min": -128, "clamp_max": 127}
    for rounding in (Rounding.XNNPACK, Rounding.QDQ):
        kernel.resize(x, indices, weights, indices, weights, out, **p, rounding=rounding)
