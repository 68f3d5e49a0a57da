"""What every convolution ends with: sums to int8, and the memory that a thread computes in."""

from __future__ import annotations

import threading

import numpy as np

f32 = np.float32
EXACT = 1 << 24  # integers up to this size are exact in float32


class _Scratch(threading.local):
    """Arrays that a thread uses again and again, so that the pages of a large temporary are mapped only once."""

    def __init__(self) -> None:
        self._buffers: dict[tuple[str, str], np.ndarray] = {}

    def __call__(self, name: str, dtype: type, *shape: int) -> np.ndarray:
        """An array with arbitrary content, valid until the next call with this name and dtype."""
        size = 1
        for extent in shape:
            size *= extent
        key = name, np.dtype(dtype).str
        buffer = self._buffers.get(key)
        if buffer is None or buffer.size < size:
            buffer = self._buffers[key] = np.empty(size, dtype)
        return buffer[:size].reshape(shape)


scratch = _Scratch()


def requantize(
    acc: np.ndarray, scale: np.ndarray, zero_point: int, low: int, high: int, out: np.ndarray
) -> None:
    """out = clamp(rint(acc * scale) + zero_point); destroys acc.

    acc: contiguous float32 of exact integers, channels last; scale: float32 for acc's elements one by one, so that the
    product runs over long rows even where there are few channels; out: int8 of acc's shape, any strides.
    """
    flat = acc.reshape(-1)
    np.multiply(flat, scale[: flat.size], out=flat)
    np.clip(
        flat, f32(low - zero_point), f32(high - zero_point), out=flat
    )  # the bounds are integers: clamping may come first
    np.rint(flat, out=flat)
    np.add(acc.reshape(out.shape), f32(zero_point), out=out, casting="unsafe")


def pad(
    x: np.ndarray, rows: tuple[int, int], columns: tuple[int, int], value: int, dtype: type = np.int8
) -> np.ndarray:
    """[N, rows, columns, C] of x's rows[0]:rows[1] and columns[0]:columns[1], either of which may lie outside of x.

    Where nothing lies outside and dtype is x's own, a view of x.
    """
    top, left = max(-rows[0], 0), max(-columns[0], 0)
    inside = x[:, max(rows[0], 0) : max(rows[1], 0), max(columns[0], 0) : max(columns[1], 0)]
    shape = x.shape[0], rows[1] - rows[0], columns[1] - columns[0], x.shape[3]
    if inside.shape == shape and dtype == x.dtype:
        return inside
    out = scratch("pad", dtype, *shape)
    if inside.shape != shape:
        out[...] = value
    out[:, top : top + inside.shape[1], left : left + inside.shape[2]] = inside
    return out
