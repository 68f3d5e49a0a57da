"""VARIANCE and STANDARDIZE: what a row's mean and variance are good for, in float32 operators one by one."""

from __future__ import annotations

import numpy as np

from furiosa.runtime.simulator.kernels.requantize import f32

_BLOCK = 1 << 18  # elements at a time


def variance(
    input: np.ndarray,
    output: np.ndarray,
    *,
    input_zero_point: int,
    input_scale: float,
    **to: float,
) -> None:
    """output [rows, 1]: the variance of each row of ``input`` [rows, depth]."""
    for part in _blocks(input):
        d = _centred(input[part], input_zero_point, input_scale)
        with np.errstate(all="ignore"):
            _store(_mean(d * d), output[part], **to)


def standardize(
    input: np.ndarray,
    divisor: np.ndarray,
    table: np.ndarray,
    output: np.ndarray,
    *,
    input_zero_point: int,
    input_scale: float,
    **to: float,
) -> None:
    """output [rows, depth]: each row of ``input`` less its mean, over what ``table`` has for its divisor."""
    for part in _blocks(input):
        d = _centred(input[part], input_zero_point, input_scale)
        with np.errstate(all="ignore"):
            d /= table[divisor[part].astype(np.int16) + 128]
            _store(d, output[part], **to)


def _blocks(x: np.ndarray) -> list[slice]:
    rows, depth = x.shape
    step = max(_BLOCK // depth, 1)
    return [slice(first, first + step) for first in range(0, rows, step)]


def _centred(x: np.ndarray, zero_point: int, scale: float) -> np.ndarray:
    """float32 [rows, depth]: the real numbers less the mean of their row."""
    d = (x.astype(f32) - f32(zero_point)) * f32(scale)
    d -= _mean(d)
    return d


def _mean(x: np.ndarray) -> np.ndarray:
    """float32 [rows, 1], added in the order that the instruction table states."""
    depth = x.shape[1]
    whole = depth - depth % 8
    lanes = x[:, :4]
    if whole:
        eight = x[:, :8]
        for i in range(8, whole, 8):
            eight = eight + x[:, i : i + 8]
        lanes = eight[:, :4] + eight[:, 4:]
        if whole < depth:
            lanes = lanes + x[:, whole:]
    total = (lanes[:, 0] + lanes[:, 2]) + (lanes[:, 1] + lanes[:, 3])
    return (total / f32(depth))[:, None]


def _store(
    real: np.ndarray,
    out: np.ndarray,
    *,
    output_scale: float,
    output_zero_point: int,
    clamp_min: int,
    clamp_max: int,
) -> None:
    y = np.rint(real / f32(output_scale)) + f32(output_zero_point)
    np.copyto(out, np.minimum(np.fmax(y, f32(clamp_min)), f32(clamp_max)), casting="unsafe")
