"""Moves of values as NPU operators, for both formats; tensors are forms (int8, in one of the layouts)."""

from __future__ import annotations

import math
from collections.abc import Sequence

from furiosa.compiler.dfg.graph import Tensor
from furiosa.compiler.dfg.moves import Runs, ranged, whole
from furiosa.compiler.errors import InvalidModel
from furiosa.compiler.ldfg.lowering import Lowering

MAX_COPIES = 64  # of one operator that works along several dimensions; with more it works along one at a time
PAD_MODES = ("edge", "reflect", "symmetric", "wrap")  # numpy's names


def take(low: Lowering, x: Tensor, runs: Sequence[Runs], y: Tensor) -> None:
    """Writes the elements of x at the indices of each dimension to y (numpy's ``x[np.ix_(...)]``).

    Raises:
        InvalidModel: the model states another shape for the result.
    """
    shape = tuple(sum(run.count for run in r) for r in runs)
    if y.shape != shape:
        raise InvalidModel(
            f'tensor "{y.name}" is stated as {list(y.shape)}, but what makes it gives {list(shape)}'
        )
    ends = [max(run.start + run.step * (run.count - 1) for run in r) for r in runs]
    if any(end >= d for end, d in zip(ends, x.shape)):
        raise InvalidModel(f'tensor "{y.name}" is made of more than there is in "{x.name}", {list(x.shape)}')
    if tuple(runs) == tuple(map(whole, x.shape)):
        low.emit_to("npu.reshape", [x], y)
        return
    several = [axis for axis, r in enumerate(runs) if len(r) > 1]
    if math.prod(map(len, runs)) > MAX_COPIES and len(several) > 1:
        axis = several[0]
        one = [runs[i] if i == axis else whole(d) for i, d in enumerate(x.shape)]
        longer = (*x.shape[:axis], shape[axis], *x.shape[axis + 1 :])
        part = low.emit("npu.take", [x], y.name, longer, x.quantization, runs=tuple(one))
        take(low, part, [whole(shape[axis]) if i == axis else r for i, r in enumerate(runs)], y)
        return
    low.emit_to("npu.take", [x], y, runs=tuple(runs))


def shuffle(low: Lowering, x: Tensor, split: tuple[int, ...], perm: tuple[int, ...], y: Tensor) -> None:
    """Writes x, seen with the shape ``split`` and transposed by ``perm``, to y, which may see that with another shape."""
    seen = reshaped(low, x, split)
    shape = tuple(split[p] for p in perm)
    if shape == y.shape:
        low.emit_to("npu.transpose", [seen], y, perm=perm)
        return
    moved = low.emit("npu.transpose", [seen], y.name, shape, x.quantization, perm=perm)
    low.emit_to("npu.reshape", [moved], y)


def reshaped(low: Lowering, x: Tensor, shape: tuple[int, ...]) -> Tensor:
    """The same bytes with another shape."""
    if x.shape == shape:
        return x
    if x.is_constant:
        return low.constant(x.name, x.data.reshape(shape), x.quantization)
    return low.emit("npu.reshape", [x], x.name, shape, x.quantization)


def pad_problem(shape: tuple[int, ...], before: Sequence[int], after: Sequence[int], mode: str) -> str:
    """Why a padding by the tensor's own values is not accelerated; empty where it is."""
    if mode not in PAD_MODES:
        return f"mode {mode}"
    if min(*before, *after) < 0:
        return f"negative paddings in mode {mode}"
    margin = mode == "reflect"  # the value at the edge is not repeated
    if mode != "edge" and any(max(b, a) > d - margin for b, a, d in zip(before, after, shape)):
        return f"paddings wider than the tensor in mode {mode}"
    return ""


def depth_to_space(
    low: Lowering, x: Tensor, block: int, y: Tensor, *, channels_last: bool, crd: bool
) -> None:
    """DCR takes the block's offset from the outer part of the channels, CRD from the inner part (ONNX DepthToSpace)."""
    if channels_last:
        n, h, w, depth = x.shape
        c = depth // block**2
        split = (n, h, w, c, block, block) if crd else (n, h, w, block, block, c)
        perm = (0, 1, 4, 2, 5, 3) if crd else (0, 1, 3, 2, 4, 5)
    else:
        n, depth, h, w = x.shape
        c = depth // block**2
        split = (n, c, block, block, h, w) if crd else (n, block, block, c, h, w)
        perm = (0, 1, 4, 2, 5, 3) if crd else (0, 3, 4, 1, 5, 2)
    shuffle(low, x, split, perm, y)


def space_to_depth(low: Lowering, x: Tensor, block: int, y: Tensor, *, channels_last: bool) -> None:
    """The block's offset becomes the outer part of the channels."""
    if channels_last:
        n, h, w, c = x.shape
        split, perm = (n, h // block, block, w // block, block, c), (0, 1, 3, 2, 4, 5)
    else:
        n, c, h, w = x.shape
        split, perm = (n, c, h // block, block, w // block, block), (0, 3, 5, 1, 2, 4)
    shuffle(low, x, split, perm, y)


def constant_pad(
    low: Lowering, x: Tensor, before: Sequence[int], after: Sequence[int], value: int, y: Tensor
) -> None:
    """Pads with one value; negative numbers take away."""
    if any(p < 0 for p in (*before, *after)):
        kept = [range(max(-b, 0), d - max(-a, 0)) for b, a, d in zip(before, after, x.shape)]
        cut = Tensor(y.name, tuple(map(len, kept)), "int8", x.quantization)
        take(low, x, [ranged(r) for r in kept], cut)
        x = cut
    low.emit_to("npu.pad", [x], y, before=tuple(max(b, 0) for b in before), value=value)
