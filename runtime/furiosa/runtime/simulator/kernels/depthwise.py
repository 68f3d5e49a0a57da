"""DEPTHWISE_CONV2D as shifted products in int16, which are exact in groups of taps, summed in float32."""

from __future__ import annotations

import numpy as np

from furiosa.runtime.simulator.kernels.requantize import EXACT, f32, pad, requantize, scratch

BLOCK = 1 << 16  # output elements at a time: their int16 and float32 temporaries stay in a second-level cache


def depthwise_conv2d(
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
    input_zero_point: int,
    output_zero_point: int,
    clamp_min: int,
    clamp_max: int,
    weight_zero_point: int,
) -> None:
    """As conv2d, output channel c reading input channel c // (OC / C) only; weight int8 [KH,KW,OC]."""
    _, height, width, channels = output.shape
    kh, kw, _ = weight.shape
    weights = weight.astype(np.int16) - np.int16(weight_zero_point)
    groups = _groups(weights)
    constant = bias - input_zero_point * weights.sum(axis=(0, 1), dtype=np.int64)
    acc_type = f32 if len(groups) * (1 << 15) + np.abs(constant).max(initial=0) < EXACT else np.float64
    line = width * channels
    rows = min(height, max(1, BLOCK // line))
    tiles = {tap: np.tile(weights[tap], width) for group in groups for tap in group}
    constants = np.tile(constant, width).astype(acc_type)
    scales = np.tile(scale, rows * width)
    columns = -pad_left, (width - 1) * stride_w + (kw - 1) * dilation_w + 1 - pad_left
    for image in range(output.shape[0]):
        for row in range(0, height, rows):
            count = min(rows, height - row)
            top = row * stride_h - pad_top
            span = top, top + (count - 1) * stride_h + (kh - 1) * dilation_h + 1
            phases = _phases(input[image : image + 1], span, columns, stride_w, channels, input_zero_point)
            acc, real = scratch("depthwise", acc_type, count, line), scratch("real", f32, count, line)
            sums, product = scratch("group", np.int16, count, line), scratch("product", np.int16, count, line)
            acc[...] = constants
            for group in groups:
                for index, tap in enumerate(group):
                    column = tap[1] * dilation_w
                    first = column // stride_w * channels
                    lines = phases[column % stride_w][tap[0] * dilation_h :: stride_h][
                        :count, first : first + line
                    ]
                    np.multiply(lines, tiles[tap], out=product if index else sums)
                    if index:
                        sums += product
                np.copyto(real, sums)
                acc += real
            if acc_type is not f32:
                acc = acc.astype(f32)
            out = output[image, row : row + count]
            requantize(acc, scales, output_zero_point, clamp_min, clamp_max, out)


def _groups(weights: np.ndarray) -> list[list[tuple[int, int]]]:
    """The taps in groups whose products with any int8 values sum up within int16 in every channel."""
    groups: list[list[tuple[int, int]]] = []
    load = np.zeros(weights.shape[2], np.int32)
    for tap in np.ndindex(weights.shape[:2]):
        magnitudes = np.abs(weights[tap])
        if not groups or (load + magnitudes).max() > 255:  # 255 * 128 < 2**15
            groups.append([])
            load[:] = 0
        groups[-1].append(tap)
        load += magnitudes
    return groups


def _phases(
    x: np.ndarray, rows: tuple[int, int], columns: tuple[int, int], stride: int, channels: int, value: int
) -> list[np.ndarray]:
    """The padded rows as int16 [rows, columns * channels], every stride-th column from 0, from 1, and so on."""
    padded = pad(x, rows, columns, value, np.int16)[0]
    if channels != padded.shape[2]:
        padded = padded.repeat(channels // padded.shape[2], axis=2)
    if stride == 1:
        return [padded.reshape(padded.shape[0], -1)]
    return [np.ascontiguousarray(padded[:, i::stride]).reshape(padded.shape[0], -1) for i in range(stride)]
