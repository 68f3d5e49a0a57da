"""RESIZE: every output a weighted sum of the input rows and columns that tables name."""

from __future__ import annotations

import numpy as np

from furiosa.enf.isa import Rounding

f32 = np.float32
BLOCK = 1 << 18  # values that are worked on at a time
ONE = 1 << 22  # XNNPACK's weights of rows and columns together


def resize(
    input: np.ndarray,
    rows: np.ndarray,
    row_weights: np.ndarray,
    columns: np.ndarray,
    column_weights: np.ndarray,
    output: np.ndarray,
    *,
    row_offset: int,
    input_zero_point: int,
    output_zero_point: int,
    input_scale: float,
    output_scale: float,
    clamp_min: int,
    clamp_max: int,
    rounding: int,
) -> None:
    """input int8 [N,H,W,C], tables [taps, OH] and [taps, OW], output int8 [N,OH,OW,C]; any strides.

    The tables are data: a row or column that is not there reads the edge.
    """
    tall = np.clip(rows.astype(np.int64) - row_offset, 0, input.shape[1] - 1)
    wide = np.clip(columns.astype(np.int64), 0, input.shape[2] - 1)
    if len(tall) == len(wide) == 1 and rounding == Rounding.XNNPACK:  # the weights are 1
        y = input[:, tall[0]][:, :, wide[0]]
        np.clip(y, clamp_min, clamp_max, out=output)
        return
    fixed = rounding == Rounding.XNNPACK
    kind = np.float64 if fixed else f32  # sums of fixed-point products are exact in float64
    step = max(1, BLOCK // (output.shape[2] * output.shape[3]))
    with np.errstate(invalid="ignore", over="ignore"):  # weights that no compiler wrote
        for image in range(output.shape[0]):
            x = input[image]
            for start in range(0, output.shape[1], step):
                part = slice(start, start + step)
                total = None
                for row, row_weight in zip(tall[:, part], row_weights[:, part]):
                    lines = x[row]
                    for column, weight in zip(wide, column_weights):
                        term = lines[:, column].astype(kind)
                        if not fixed:
                            term -= f32(input_zero_point)
                            term *= f32(input_scale)
                        term *= (row_weight[:, None] * weight)[:, :, None]
                        total = term if total is None else np.add(total, term, out=total)
                y = _fixed(total) if fixed else _real(total, output_scale, output_zero_point)
                np.copyto(output[image, part], np.clip(y, clamp_min, clamp_max), casting="unsafe")


def _fixed(total: np.ndarray) -> np.ndarray:
    return np.floor((total + ONE // 2) / ONE)


def _real(total: np.ndarray, scale: float, zero_point: int) -> np.ndarray:
    return np.rint(total / f32(scale)) + f32(zero_point)
