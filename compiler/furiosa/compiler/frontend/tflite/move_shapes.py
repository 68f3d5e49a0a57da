"""Shapes that TFLite's operators on the places of values make: a shape, a list of one an output, or None where inputs are not known."""

from __future__ import annotations

import math
from collections.abc import Callable

from furiosa.compiler.dfg.graph import Operator

Shape = tuple[int, ...]
Shapes = Shape | list[Shape] | None

_WHOLE = ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64")


class Contradiction(Exception):
    """Why an operator's inputs and options do not fit together: a clause that follows its name."""


def constant(op: Operator, position: int) -> list[int] | None:
    """The numbers of a constant input, row by row; None where it is computed or left out.

    Raises:
        Contradiction: they are no whole numbers.
    """
    t = op.inputs[position] if position < len(op.inputs) else None
    if t is None or not t.is_constant:
        return None
    if t.dtype not in _WHOLE:
        raise Contradiction(f'takes sizes, positions or axes from "{t.name}", which is {t.dtype}')
    return t.data.reshape(-1).tolist()


def axes(values: list[int], rank: int) -> list[int]:
    """Axes counted from the front.

    Raises:
        Contradiction: the tensor has no such axis.
    """
    if not all(-rank <= v < rank for v in values):
        raise Contradiction(f"works along the dimensions {values} of a tensor that has {rank}")
    return [v % rank for v in values]


def _first(op: Operator) -> Shape:
    return op.inputs[0].shape


def _one_each(values: list[int], shape: Shape, what: str) -> None:
    if len(values) != len(shape):
        raise Contradiction(f"has the {what} {values} for a tensor of shape {list(shape)}")


def slice_ranges(op: Operator) -> list[range] | None:
    """What SLICE takes of each dimension: from ``begin`` on ``size`` elements, -1 for all that follow."""
    begin, size = constant(op, 1), constant(op, 2)
    if begin is None or size is None:
        return None
    shape = _first(op)
    _one_each(begin, shape, "begin")
    _one_each(size, shape, "size")
    ranges = [range(b, d if s == -1 else b + s) for b, s, d in zip(begin, size, shape)]
    if any(r.start < 0 or r.stop < r.start or r.stop > d for r, d in zip(ranges, shape)):
        raise Contradiction(f"takes from {begin} on {size} of a tensor of shape {list(shape)}")
    return ranges


def strided_slice(op: Operator) -> tuple[list[range], Shape] | None:
    """What STRIDED_SLICE takes of each dimension, and the shape that it gives the result (masks as in TensorFlow)."""
    begin, end, strides = (constant(op, i) for i in (1, 2, 3))
    a = op.attributes
    if begin is None or end is None or strides is None or a["offset"]:
        return None
    shape = _first(op)
    if not len(begin) == len(end) == len(strides) or 0 in strides:
        raise Contradiction(f"has begin {begin}, end {end} and strides {strides}")

    def bit(mask: str, i: int) -> bool:
        return bool(a[mask] >> i & 1)

    new = [bit("new_axis_mask", i) and not bit("ellipsis_mask", i) for i in range(len(begin))]
    skipped = len(shape) - (len(begin) - sum(new) - 1)  # dimensions that an ellipsis stands for
    ranges: list[range] = []
    out: list[int] = []
    for i, (b, e, s) in enumerate(zip(begin, end, strides)):
        if bit("ellipsis_mask", i):
            for d in shape[len(ranges) : len(ranges) + max(skipped, 0)]:
                ranges.append(range(d))
                out.append(d)
        elif new[i]:
            out.append(1)
        elif len(ranges) == len(shape):
            raise Contradiction(f"slices {len(begin)} dimensions of a tensor of shape {list(shape)}")
        elif bit("shrink_axis_mask", i):
            d = shape[len(ranges)]
            at = 0 if bit("begin_mask", i) else b + d * (b < 0)
            if not 0 <= at < d:
                raise Contradiction(f"takes the index {b} of a dimension of {d}")
            ranges.append(range(at, at + 1))
        else:
            part = slice(None if bit("begin_mask", i) else b, None if bit("end_mask", i) else e, s)
            ranges.append(range(shape[len(ranges)])[part])
            out.append(len(ranges[-1]))
    rest = shape[len(ranges) :]
    return [*ranges, *map(range, rest)], (*out, *rest)


def _slice(op: Operator) -> Shapes:
    ranges = slice_ranges(op)
    return None if ranges is None else tuple(map(len, ranges))


def _strided_slice(op: Operator) -> Shapes:
    found = strided_slice(op)
    return None if found is None else found[1]


def split_axis(op: Operator) -> tuple[int, list[int]] | None:
    """The axis of SPLIT or SPLIT_V, and the size of each output along it."""
    even = op.op_type == "SPLIT"
    shape = op.inputs[1 if even else 0].shape
    axis = constant(op, 0 if even else 2)
    sizes = [-1] * len(op.outputs) if even else constant(op, 1)
    if axis is None or sizes is None:
        return None
    (axis,) = axes(axis[:1], len(shape))
    d = shape[axis]
    if even:
        if d % len(sizes):
            raise Contradiction(f"makes {len(sizes)} equal parts of a dimension of {d}")
        return axis, [d // len(sizes)] * len(sizes)
    if sizes.count(-1) == 1:
        sizes = [d - sum(sizes) - 1 if s == -1 else s for s in sizes]
    if len(sizes) != len(op.outputs) or min(sizes) < 0 or sum(sizes) != d:
        raise Contradiction(f"makes {len(op.outputs)} parts of the sizes {sizes} of a dimension of {d}")
    return axis, sizes


def _split(op: Operator) -> Shapes:
    found = split_axis(op)
    if found is None:
        return None
    axis, sizes = found
    shape = op.inputs[1 if op.op_type == "SPLIT" else 0].shape
    return [(*shape[:axis], size, *shape[axis + 1 :]) for size in sizes]


def _pack(op: Operator) -> Shapes:
    shape = _first(op)
    if any(t is None or t.shape != shape for t in op.inputs):
        raise Contradiction(f"cannot stack the shapes {[list(t.shape) for t in op.inputs if t]}")
    (axis,) = axes([op.attributes["axis"]], len(shape) + 1)
    return (*shape[:axis], len(op.inputs), *shape[axis:])


def _unpack(op: Operator) -> Shapes:
    shape = _first(op)
    (axis,) = axes([op.attributes["axis"]], len(shape))
    if shape[axis] != len(op.outputs):
        raise Contradiction(f"makes {len(op.outputs)} outputs of a dimension of {shape[axis]}")
    return [shape[:axis] + shape[axis + 1 :]] * len(op.outputs)


def _expand_dims(op: Operator) -> Shapes:
    axis = constant(op, 1)
    if axis is None:
        return None
    if len(axis) != 1:
        raise Contradiction(f"has the axes {axis}; it takes one")
    shape = _first(op)
    (at,) = axes(axis, len(shape) + 1)
    return (*shape[:at], 1, *shape[at:])


def _squeeze(op: Operator) -> Shapes:
    shape = _first(op)
    gone = set(axes(list(op.attributes.get("squeeze_dims") or []), len(shape)))
    if not gone:
        return tuple(d for d in shape if d != 1)
    if any(shape[i] != 1 for i in gone):
        raise Contradiction(f"leaves out the dimensions {sorted(gone)} of a tensor of shape {list(shape)}")
    return tuple(d for i, d in enumerate(shape) if i not in gone)


def _mirror_pad(op: Operator) -> Shapes:
    pads = constant(op, 1)
    if pads is None:
        return None
    shape = _first(op)
    margin = op.attributes["mode"] == "REFLECT"
    if len(pads) != 2 * len(shape) or any(not 0 <= p <= shape[i // 2] - margin for i, p in enumerate(pads)):
        raise Contradiction(f"has the paddings {pads} for a tensor of shape {list(shape)}")
    return tuple(d + before + after for d, before, after in zip(shape, pads[::2], pads[1::2]))


def _depth_to_space(op: Operator) -> Shapes:
    n, h, w, c = _rank4(op)
    block = op.attributes["block_size"]
    if block < 1 or c % block**2:
        raise Contradiction(f"makes blocks of {block} by {block} of {c} channels")
    return n, h * block, w * block, c // block**2


def _space_to_depth(op: Operator) -> Shapes:
    n, h, w, c = _rank4(op)
    block = op.attributes["block_size"]
    if block < 1 or h % block or w % block:
        raise Contradiction(f"takes blocks of {block} by {block} of {h} rows and {w} columns")
    return n, h // block, w // block, c * block**2


def _rank4(op: Operator) -> Shape:
    if len(_first(op)) != 4:
        raise Contradiction(f"needs an input of 4 dimensions, not of shape {list(_first(op))}")
    return _first(op)


def _space_batch(op: Operator) -> Shapes:
    """SPACE_TO_BATCH_ND and BATCH_TO_SPACE_ND, where dimension 0 is the batch and the blocks are those that follow."""
    blocks, ends = constant(op, 1), constant(op, 2)
    if blocks is None or ends is None:
        return None
    shape = _first(op)
    if not 0 < len(blocks) < len(shape) or len(ends) != 2 * len(blocks) or min(blocks) < 1 or min(ends) < 0:
        raise Contradiction(f"has the blocks {blocks} and ends {ends} for a tensor of shape {list(shape)}")
    pairs = list(zip(shape[1:], blocks, ends[::2], ends[1::2]))
    all_blocks = math.prod(blocks)
    if op.op_type == "SPACE_TO_BATCH_ND":
        if any((d + b + a) % block for d, block, b, a in pairs):
            raise Contradiction(f"has the blocks {blocks} and paddings {ends} for the shape {list(shape)}")
        space = [(d + b + a) // block for d, block, b, a in pairs]
        return (shape[0] * all_blocks, *space, *shape[1 + len(blocks) :])
    space = [d * block - b - a for d, block, b, a in pairs]
    if shape[0] % all_blocks or min(space) < 0:
        raise Contradiction(f"has the blocks {blocks} and crops {ends} for the shape {list(shape)}")
    return (shape[0] // all_blocks, *space, *shape[1 + len(blocks) :])


def _broadcast_to(op: Operator) -> Shapes:
    out = constant(op, 1)
    if out is None:
        return None
    shape = _first(op)
    lead = len(out) - len(shape)
    if lead < 0 or any(d not in (1, e) for d, e in zip(shape, out[lead:])):
        raise Contradiction(f"cannot broadcast a tensor of shape {list(shape)} to {out}")
    return tuple(out)


def _tile(op: Operator) -> Shapes:
    times = constant(op, 1)
    if times is None:
        return None
    _one_each(times, _first(op), "multiples")
    return tuple(d * n for d, n in zip(_first(op), times))


def _reverse(op: Operator) -> Shapes:
    along = constant(op, 1)
    if along is not None:
        axes(along, len(_first(op)))
    return _first(op)


# The least number of inputs, and the rule.
RULES: dict[str, tuple[int, Callable[[Operator], Shapes]]] = {
    "BATCH_TO_SPACE_ND": (3, _space_batch),
    "BROADCAST_TO": (2, _broadcast_to),
    "DEPTH_TO_SPACE": (1, _depth_to_space),
    "EXPAND_DIMS": (2, _expand_dims),
    "MIRROR_PAD": (2, _mirror_pad),
    "PACK": (1, _pack),
    "REVERSE_V2": (2, _reverse),
    "SLICE": (3, _slice),
    "SPACE_TO_BATCH_ND": (3, _space_batch),
    "SPACE_TO_DEPTH": (1, _space_to_depth),
    "SPLIT": (2, _split),
    "SPLIT_V": (3, _split),
    "SQUEEZE": (1, _squeeze),
    "STRIDED_SLICE": (4, _strided_slice),
    "TILE": (2, _tile),
    "UNPACK": (1, _unpack),
}
