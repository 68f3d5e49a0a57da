"""Matrix products: as a 1x1 convolution over [1, 1, rows, depth] by a constant matrix, else as MATMUL."""

from __future__ import annotations

import numpy as np

from furiosa.compiler.dfg.broadcast import merged
from furiosa.compiler.dfg.graph import Tensor
from furiosa.compiler.ldfg.lowering import Lowering


def matmul(
    low: Lowering, x: Tensor, rows: int, parameters: list[Tensor], y: Tensor, **attributes: int
) -> None:
    """Emits y[rows, channels] = x[rows, depth] * weight as a 1x1 convolution, with the reshapes around it."""
    channels, _, _, depth = parameters[0].shape
    shaped = low.emit("npu.reshape", [x], x.name, (1, 1, rows, depth), x.quantization)
    out = low.emit(
        "npu.conv2d",
        [shaped, *parameters],
        y.name,
        (1, 1, rows, channels),
        y.quantization,
        **attributes,
        stride_h=1,
        stride_w=1,
        pad_top=0,
        pad_left=0,
        dilation_h=1,
        dilation_w=1,
        groups=1,
    )
    low.emit_to("npu.reshape", [out], y)


def batched(
    low: Lowering,
    factors: tuple[Tensor, Tensor],
    transposed: tuple[bool, bool],
    bias: np.ndarray | None,
    scale: np.ndarray,
    y: Tensor,
    **attributes: int,
) -> None:
    """Emits y = a * b + bias over the last two dimensions of each, those before them broadcast.

    factors: forms of a and b, constants or not; a vector is what NumPy's matmul takes it for; dimensions before the last two
    repeat in at most two groups (``batches``);
    transposed: whether each is stored with its last two dimensions swapped; bias: int32, broadcast to y, None for none;
    scale: float32 [1] or [columns].
    """
    a, b = factors
    shape_a, shape_b = matrices(a.shape, b.shape)
    batch, (batch_a, batch_b) = batches(shape_a, shape_b)
    rows = shape_a[-1 if transposed[0] else -2]
    columns = shape_b[-2 if transposed[1] else -1]
    shape = _four((*batch, rows, columns))
    shape_a, shape_b = _four((*batch_a, *shape_a[-2:])), _four((*batch_b, *shape_b[-2:]))
    added = np.zeros((1, 1, 1, 1), np.int32) if bias is None else bias.reshape(_four(bias.shape))
    inputs = [
        _shaped(low, a, shape_a),
        _shaped(low, b, shape_b),
        low.constant(f"{y.name}/bias", added.astype(np.int32)),
        low.constant(f"{y.name}/scale", scale),
    ]
    swaps = {"a_transposed": transposed[0], "b_transposed": transposed[1]}
    out = low.emit("npu.matmul", inputs, y.name, shape, y.quantization, **swaps, **attributes)
    low.emit_to("npu.reshape", [out], y)


Shape = tuple[int, ...]


def matrices(a: Shape, b: Shape) -> tuple[Shape, Shape]:
    """The shapes of two factors, a vector as a row on the left and as a column on the right."""
    return (a if len(a) > 1 else (1, *a)), (b if len(b) > 1 else (*b, 1))


def batches(a: Shape, b: Shape) -> tuple[Shape, list[Shape]]:
    """What comes before the last two dimensions, for the product and for each factor, neighbours merged where they can be."""
    return merged(np.broadcast_shapes(a[:-2], b[:-2]), a[:-2], b[:-2])


def _four(shape: tuple[int, ...]) -> tuple[int, ...]:
    return (1,) * (4 - len(shape)) + tuple(shape)


def _shaped(low: Lowering, t: Tensor, shape: tuple[int, ...]) -> Tensor:
    if t.is_constant:
        return low.constant(t.name, t.data.reshape(shape), t.quantization)
    return low.emit("npu.reshape", [t], t.name, shape, t.quantization)
