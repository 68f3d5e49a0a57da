"""CONV2D as float32 matrix products, which are exact as long as no sum of a row can reach 2**24."""

from __future__ import annotations

import numpy as np

from furiosa.runtime.simulator.kernels.requantize import EXACT, f32, pad, requantize, scratch

BLOCK = 1 << 17  # elements of a matrix operand: 512 KiB of float32, to stay in a second-level cache
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
    if input.shape[1] == output.shape[1] == kh == 1:  # a fully connected layer: its batch makes the rows of one matrix
        input, output, stride_h = input.swapaxes(0, 1), output.swapaxes(0, 1), 1
    per_group = channels // groups
    windows = _windows(
        input, output, (kh, kw), (stride_h, stride_w), (dilation_h, dilation_w), (pad_top, pad_left), input_zero_point
    )
    step = max(1, min(per_group, WEIGHTS // (kh * kw * depth)))
    for group in range(groups):
        taps = windows[..., group * depth : (group + 1) * depth]
        for first in range(group * per_group, (group + 1) * per_group, step):
            part = slice(first, min(first + step, (group + 1) * per_group))
            matrix, parts = _weights(weight[part], bias[part], input_zero_point, weight_zero_point)
            _multiply(taps, matrix, parts, scale[part], output_zero_point, clamp_min, clamp_max, output[..., part])


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


def _weights(weight: np.ndarray, bias: np.ndarray, zx: int, zw: int) -> tuple[np.ndarray, list[slice]]:
    """(float32 [OC, K + 1], the constant part of each sum last; the parts of the K columns, if not all may be summed at once).

    The zero point of the input is folded into the constant, so that raw values are multiplied.
    """
    channels, depth = weight.shape[0], weight[0].size
    matrix = scratch("weights", f32, channels, depth + 1)
    terms = matrix[:, :depth]
    np.copyto(terms.reshape(weight.shape), weight)
    if zw:
        terms -= f32(zw)
    largest = 128 * (255 if zw else 128)  # of one product
    ones = np.ones(depth, f32 if largest // 128 * depth < EXACT else np.float64)
    constant = bias - zx * (terms @ ones).astype(np.int64)
    matrix[:, depth] = constant  # rounded where it is not small, but then it is not used
    room = EXACT - 1 - int(np.abs(constant).max())
    if largest * depth <= room:
        return matrix, []
    return matrix, _parts(terms, largest, room)


def _parts(terms: np.ndarray, largest: int, room: int) -> list[slice]:
    """The columns in runs that may each be summed in float32; none if all of them and the constant may."""
    step = (EXACT - 1) // largest
    parts: list[slice] = []
    load = total = np.zeros(len(terms))
    for start in range(0, terms.shape[1], step):
        columns = terms[:, start : start + step]
        magnitude = np.abs(columns) @ np.full(columns.shape[1], 128, f32)  # below 2**24, thus exact
        total = total + magnitude
        load = load + magnitude
        if parts and load.max() < EXACT:
            parts[-1] = slice(parts[-1].start, start + columns.shape[1])
        else:
            parts.append(slice(start, start + columns.shape[1]))
            load = magnitude
    return [] if total.max() <= room else parts


def _multiply(
    taps: np.ndarray,
    matrix: np.ndarray,
    parts: list[slice],
    scale: np.ndarray,
    zero_point: int,
    low: int,
    high: int,
    out: np.ndarray,
) -> None:
    """Blocks of output rows: windows to a float32 matrix, product with the weights, requantisation."""
    _, height, width, channels = out.shape
    depth = matrix.shape[1] - 1
    rows = min(height, max(1, BLOCK // (width * max(depth, channels))))
    values = scratch("values", f32, rows * width, depth + 1)
    values[:, depth] = 1
    sums = scratch("sums", f32, rows * width, channels)
    scales = np.tile(scale, rows * width)
    for image in range(out.shape[0]):
        for row in range(0, height, rows):
            block = taps[image, row : row + rows]
            count = block.shape[0] * width
            np.copyto(values[:count, :depth].reshape(block.shape), block)
            if parts:
                _multiply_parts(values[:count], matrix, parts, sums[:count])
            else:
                np.matmul(values[:count], matrix.T, out=sums[:count])
            requantize(sums[:count], scales, zero_point, low, high, out[image, row : row + rows])


def _multiply_parts(values: np.ndarray, matrix: np.ndarray, parts: list[slice], sums: np.ndarray) -> None:
    """values @ matrix.T where whole sums may exceed 2**24: exact parts, added in float64, rounded to float32 once."""
    total = np.zeros(sums.shape, np.float64)
    for part in parts:
        np.matmul(values[:, part], matrix[:, part].T, out=sums)
        total += sums
    sums[...] = total
