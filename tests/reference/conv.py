"""Convolution, depthwise convolution and fully connected: one float32 requantisation rule, shared by XNNPACK and onnxruntime.

Tensors are NHWC, weights OHWI (depthwise: 1,KH,KW,C*multiplier), as TFLite stores them.
"""

from __future__ import annotations

import numpy as np

from tests.reference.rounding import f32, rint, saturate


def multipliers(input_scale: float, weight_scales: np.ndarray, output_scale: float) -> np.ndarray:
    """m[c] = float32(float32(s_in * s_w[c]) / s_out): computing in double and rounding once is not the same."""
    return f32(input_scale) * np.asarray(weight_scales, f32) / f32(output_scale)


def requantize(
    accumulator: np.ndarray,
    multiplier: np.ndarray,
    zero_point: int,
    dtype: str,
    bounds: tuple[int, int] | None = None,
) -> np.ndarray:
    """clamp(rint(float32(accumulator) * m[c]) + zero_point), the channel being the last axis.

    Equals XNNPACK's qs8/qu8/qc8w "fp32" requantisation and onnxruntime's MlasRequantizeOutput.
    """
    return saturate(rint(accumulator.astype(f32) * multiplier) + zero_point, dtype, bounds)


def accumulate(
    x: np.ndarray,
    w: np.ndarray,
    bias: np.ndarray | None,
    input_zero_point: int,
    weight_zero_point: int | np.ndarray = 0,
    stride: tuple[int, int] = (1, 1),
    dilation: tuple[int, int] = (1, 1),
    padding: tuple[int, int, int, int] = (0, 0, 0, 0),
    groups: int = 1,
) -> np.ndarray:
    """The int32 sums of a grouped convolution: sum((x - zx) * (w - zw)) + bias, a padded position contributing 0.

    x [N,H,W,C], w [O,KH,KW,C/groups], padding (top, left, bottom, right); returns int64 [N,OH,OW,O].
    `weight_zero_point` is one number or one for each output channel.
    """
    top, left, bottom, right = padding
    x = np.pad(x.astype(np.int64) - input_zero_point, ((0, 0), (top, bottom), (left, right), (0, 0)))
    w = w.astype(np.int64) - np.reshape(weight_zero_point, (-1, 1, 1, 1))
    out_channels, kernel_h, kernel_w, depth = w.shape
    out_h = (x.shape[1] - (kernel_h - 1) * dilation[0] - 1) // stride[0] + 1
    out_w = (x.shape[2] - (kernel_w - 1) * dilation[1] - 1) // stride[1] + 1
    out = np.zeros((x.shape[0], out_h, out_w, out_channels), np.int64)
    per_group = out_channels // groups
    for group in range(groups):
        channels = slice(group * depth, (group + 1) * depth)
        outputs = slice(group * per_group, (group + 1) * per_group)
        for ky in range(kernel_h):
            for kx in range(kernel_w):
                rows = slice(ky * dilation[0], ky * dilation[0] + (out_h - 1) * stride[0] + 1, stride[0])
                cols = slice(kx * dilation[1], kx * dilation[1] + (out_w - 1) * stride[1] + 1, stride[1])
                out[..., outputs] += x[:, rows, cols, channels] @ w[outputs, ky, kx].T
    return out if bias is None else out + bias.astype(np.int64)


def accumulate_depthwise(
    x: np.ndarray, w: np.ndarray, bias: np.ndarray | None, input_zero_point: int, **options
) -> np.ndarray:
    """A TFLite depthwise convolution, w [1,KH,KW,C*multiplier], as a convolution of C groups (see `accumulate`)."""
    return accumulate(
        x, np.moveaxis(w, 3, 0)[:, 0, ..., None], bias, input_zero_point, groups=x.shape[3], **options
    )


def accumulate_transposed(
    x: np.ndarray,
    w: np.ndarray,
    bias: np.ndarray | None,
    input_zero_point: int,
    out_shape: tuple[int, int],
    weight_zero_point: int = 0,
    stride: tuple[int, int] = (1, 1),
    dilation: tuple[int, int] = (1, 1),
    pad: tuple[int, int] = (0, 0),
    groups: int = 1,
) -> np.ndarray:
    """The sums of a transposed convolution: input pixel i and tap k add to output i*stride + k*dilation - pad.

    x [N,H,W,C], w [O,KH,KW,C/groups] (TFLite's order; ONNX has [C,O/groups,KH,KW]), pad (top, left); int64 [N,OH,OW,O].
    """
    x = x.astype(np.int64) - input_zero_point
    w = w.astype(np.int64) - weight_zero_point
    channels, kernel_h, kernel_w, depth = w.shape
    span = [(x.shape[1 + i] - 1) * stride[i] + 1 for i in (0, 1)]
    full = [max(span[i] + (w.shape[1 + i] - 1) * dilation[i], pad[i] + out_shape[i]) for i in (0, 1)]
    out = np.zeros((x.shape[0], *full, channels), np.int64)
    per_group = channels // groups
    for group in range(groups):
        values = x[..., group * depth : (group + 1) * depth]
        outputs = slice(group * per_group, (group + 1) * per_group)
        for ky in range(kernel_h):
            for kx in range(kernel_w):
                top, left = ky * dilation[0], kx * dilation[1]
                rows, cols = slice(top, top + span[0], stride[0]), slice(left, left + span[1], stride[1])
                out[:, rows, cols, outputs] += values @ w[outputs, ky, kx].T
    out = out[:, pad[0] : pad[0] + out_shape[0], pad[1] : pad[1] + out_shape[1]]
    return out if bias is None else out + bias.astype(np.int64)


def same_padding(size: int, kernel: int, stride: int, dilation: int = 1) -> tuple[int, int]:
    """(before, after) of TFLite's SAME padding along one axis: the odd element goes after."""
    total = max((-(-size // stride) - 1) * stride + (kernel - 1) * dilation + 1 - size, 0)
    return total // 2, total - total // 2
