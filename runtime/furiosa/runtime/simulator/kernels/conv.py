"""CONV2D as float32 matrix products, which are exact as long as no sum can reach 2**24."""

from __future__ import annotations

import math

import numpy as np

from furiosa.runtime.simulator.kernels.requantize import EXACT, f32, pad, requantize, scratch

BLOCK = 1 << 18  # elements of a matrix operand: 1 MiB of float32, to stay in a second-level cache
WEIGHTS = 1 << 22  # weights that are held as float32 at a time


def conv2d(
    input: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray,
    scale: np.ndarray,
    output: np.ndarray,
    *,
    stride_h: int,
    stride_w: int,
    pad_top: int,
    pad_left: int,
    dilation_h: int,
    dilation_w: int,
    groups: int,
    input_zero_point: int,
    output_zero_point: int,
    clamp_min: int,
    clamp_max: int,
    weight_zero_point: int,
) -> None:
    """y = clamp(rint(float32(sum((x - zx) * (w - zw)) + bias) * scale[c]) + zy).

    input int8 [N,H,W,C], weight int8 [OC,KH,KW,C/groups], bias int32 [OC], scale float32 [OC], output int8 [N,OH,OW,OC];
    any strides. Rows and columns of the window that lie outside of the input count as zero points.
    """
    channels, kh, kw, depth = weight.shape
    if (
        input.shape[1] == output.shape[1] == kh == 1
    ):  # a fully connected layer: its batch makes the rows of one matrix
        input, output, stride_h = input.swapaxes(0, 1), output.swapaxes(0, 1), 1
    per_group = channels // groups
    windows = _windows(
        input,
        output,
        (kh, kw),
        (stride_h, stride_w),
        (dilation_h, dilation_w),
        (pad_top, pad_left),
        input_zero_point,
    )
    step = max(1, min(per_group, WEIGHTS // (kh * kw * depth)))
    for group in range(groups):
        taps = windows[..., group * depth : (group + 1) * depth]
        for first in range(group * per_group, (group + 1) * per_group, step):
            part = slice(first, min(first + step, (group + 1) * per_group))
            product = _Product(weight[part], bias[part], input_zero_point, weight_zero_point)
            _blocks(taps, product, scale[part], output_zero_point, clamp_min, clamp_max, output[..., part])


def _windows(
    x: np.ndarray,
    out: np.ndarray,
    kernel: tuple[int, int],
    stride: tuple[int, int],
    dilation: tuple[int, int],
    before: tuple[int, int],
    zero_point: int,
) -> np.ndarray:
    """A view [N,OH,OW,KH,KW,C] of what each output sees."""
    spans = [(out.shape[1 + i] - 1) * stride[i] + (kernel[i] - 1) * dilation[i] + 1 for i in (0, 1)]
    x = pad(x, (-before[0], spans[0] - before[0]), (-before[1], spans[1] - before[1]), zero_point)
    n, row, column, channel = x.strides
    return np.lib.stride_tricks.as_strided(
        x,
        (x.shape[0], *out.shape[1:3], *kernel, x.shape[3]),
        (n, row * stride[0], column * stride[1], row * dilation[0], column * dilation[1], channel),
        writeable=False,
    )


def _blocks(
    taps: np.ndarray,
    product: _Product,
    scale: np.ndarray,
    zero_point: int,
    low: int,
    high: int,
    out: np.ndarray,
) -> None:
    """Blocks of output rows: windows to a float32 matrix, product with the weights, requantisation."""
    _, height, width, channels = out.shape
    rows = min(height, max(1, BLOCK // (width * max(product.depth, channels))))
    values = scratch("values", f32, rows * width, product.depth + 1)
    values[:, product.depth] = 1
    sums = scratch("sums", f32, rows * width, channels)
    scales = np.tile(scale, rows * width)
    for image in range(out.shape[0]):
        for row in range(0, height, rows):
            block = taps[image, row : row + rows]
            count = block.shape[0] * width
            np.copyto(values[:count, : product.depth].reshape(block.shape), block)
            product.times(values[:count], sums[:count])
            requantize(sums[:count], scales, zero_point, low, high, out[image, row : row + rows])


class _Product:
    """The weights of some output channels as a float32 matrix [OC, K + 1], the constant part of each sum in the last column.

    The zero point of the input is folded into the constant, so that raw values are multiplied.
    """

    def __init__(self, weight: np.ndarray, bias: np.ndarray, zx: int, zw: int) -> None:
        self.depth = weight[0].size
        self._matrix = scratch("weights", f32, weight.shape[0], self.depth + 1)
        terms = self._matrix[:, : self.depth]
        np.copyto(terms.reshape(weight.shape), weight)
        if zw:
            terms -= f32(zw)
        largest = 255 if zw else 128
        ones = np.ones(self.depth, f32 if largest * self.depth < EXACT else np.float64)
        self._constant = bias - zx * (terms @ ones).astype(np.int64)
        self._matrix[:, self.depth] = self._constant  # rounded where it is large, but then it is not used
        room = EXACT - 1 - int(np.abs(self._constant).max())
        # by Cauchy and Schwarz sum|w| <= sqrt(K * sum(w^2)), which is quick to have; the slack covers its rounding
        squares = float(np.vecdot(terms, terms).max()) * (1 + 2 * self.depth / EXACT)
        bound = 128 * min(largest * self.depth, math.sqrt(self.depth * squares))
        self._parts = [] if bound <= room else _parts(terms, 128 * largest, room)

    def times(self, values: np.ndarray, sums: np.ndarray) -> None:
        """sums [rows, OC] = float32(values [rows, K + 1] @ weights), rounded once where a sum is not exact in float32."""
        if not self._parts:
            np.matmul(values, self._matrix.T, out=sums)
            return
        total = np.empty(sums.shape, np.float64)
        total[...] = self._constant
        for part in self._parts:
            np.matmul(values[:, part], self._matrix[:, part].T, out=sums)
            total += sums
        sums[...] = total


def _parts(terms: np.ndarray, largest: int, room: int) -> list[slice]:
    """Runs of columns of [OC, K] weights that may each be summed in float32; none if all of them may, and the constant.

    largest: of one product; room: what a constant leaves below 2**24.
    """
    step = (EXACT - 1) // largest
    parts: list[slice] = []
    load = total = np.zeros(len(terms))
    for start in range(0, terms.shape[1], step):
        columns = terms[:, start : start + step]
        magnitudes = np.abs(columns, out=scratch("magnitudes", f32, *columns.shape))
        magnitude = magnitudes @ np.full(columns.shape[1], 128, f32)  # below 2**24, thus exact
        load, total = load + magnitude, total + magnitude
        if parts and load.max() < EXACT:
            parts[-1] = slice(parts[-1].start, start + columns.shape[1])
        else:
            parts.append(slice(start, start + columns.shape[1]))
            load = magnitude
    return [] if total.max() <= room else parts
