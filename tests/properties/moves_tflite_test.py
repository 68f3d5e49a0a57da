"""TFLite operators that move values, int8 and uint8, against LiteRT and NumPy."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.properties.harness import Machine, bounded, check
from tests.properties.strategies import Quantization, any_shapes, machines, seeds, shapes, together, values
from tests.reference.requantize import concat_part_builtin
from tests.reference.tflite_op import Operand, build, options

Draw = Callable[[st.SearchStrategy], object]


class Case(NamedTuple):
    """One operator on an array of ``shape``: its constants (None: the data), options, and what it does, in NumPy.

    ``rule`` gets the array and the value that paddings have; it returns an array, or a list of one an output.
    """

    shape: tuple[int, ...]
    inputs: list[np.ndarray | None]
    option: object
    rule: Callable[[np.ndarray, int], np.ndarray | list[np.ndarray]]
    operator: str
    version: int = 2


def _ints(values: object) -> np.ndarray:
    return np.array(values, np.int32)


def _movable(shape: tuple[int, ...]) -> list[int]:
    """The axes that Slice may cut: height and channels."""
    return {4: [1, 3], 3: [1, 2], 2: [1], 1: [0]}[len(shape)]


def _slice(draw: Draw, shape: tuple[int, ...]) -> Case:
    begin, size = [0] * len(shape), list(shape)
    for axis in _movable(shape):
        begin[axis] = draw(st.integers(0, shape[axis] - 1))
        size[axis] = draw(st.sampled_from((-1, draw(st.integers(1, shape[axis] - begin[axis])))))
    index = tuple(slice(b, None if s == -1 else b + s) for b, s in zip(begin, size))
    constants = [None, _ints(begin), _ints(size)]
    return Case(shape, constants, options("SliceOptions"), lambda x, _: x[index], "SLICE")


def _strided_slice(draw: Draw, shape: tuple[int, ...]) -> Case:
    """Negative strides and indices, ends out of range, all masks."""
    begin, end, strides = [0] * len(shape), list(shape), [1] * len(shape)
    masks = dict.fromkeys(("beginMask", "endMask", "shrinkAxisMask"), 0)
    index: list[slice | int] = [slice(None)] * len(shape)
    for axis in _movable(shape):
        d, bit = shape[axis], 1 << axis
        first, last = sorted((draw(st.integers(0, d - 1)), draw(st.integers(0, d - 1))))
        step = draw(st.sampled_from((1, 1, 2, 3) + ((-1, -2) if d <= 64 else ())))
        if draw(st.sampled_from((False, False, True))) and len(shape) > 1:
            begin[axis], end[axis] = first - draw(st.sampled_from((0, d))), first + 1
            masks["shrinkAxisMask"] |= bit
            index[axis] = first
            continue
        if step > 0:
            begin[axis], end[axis] = first, last + draw(st.sampled_from((1, 1, d)))
            index[axis] = slice(first, min(end[axis], d), step)
        else:
            begin[axis], end[axis] = last, first - 1 - d * (first == 0)
            index[axis] = slice(last, None if first == 0 else first - 1, step)
        strides[axis] = step
        if draw(st.booleans()):
            masks["beginMask"] |= bit
            index[axis] = slice(None, index[axis].stop, step)
        if draw(st.booleans()):
            masks["endMask"] |= bit
            index[axis] = slice(index[axis].start, None, step)
    constants = [None, _ints(begin), _ints(end), _ints(strides)]
    option = options("StridedSliceOptions", **masks)
    return Case(shape, constants, option, lambda x, _: x[tuple(index)], "STRIDED_SLICE")


def _new_axis(draw: Draw, shape: tuple[int, ...]) -> Case:
    """A new dimension and an ellipsis in front of the channels."""
    start = draw(st.integers(0, shape[-1] - 1))
    option = options("StridedSliceOptions", newAxisMask=1, ellipsisMask=2)
    constants = [None, _ints([0, 0, start]), _ints([0, 0, shape[-1]]), _ints([1, 1, 1])]
    return Case(shape, constants, option, lambda x, _: x[None, ..., start:], "STRIDED_SLICE", 6)


def _split(draw: Draw, shape: tuple[int, ...]) -> Case:
    axis = draw(st.integers(0, len(shape) - 1))
    given_axis = _ints(axis - draw(st.sampled_from((0, len(shape)))))
    if draw(st.booleans()):
        count = draw(st.sampled_from([n for n in (1, 2, 3) if shape[axis] % n == 0]))
        option = options("SplitOptions", numSplits=count)
        return Case(shape, [given_axis, None], option, lambda x, _: np.split(x, count, axis), "SPLIT")
    cuts = sorted(draw(st.sets(st.integers(1, shape[axis]), max_size=2)) | {shape[axis]})
    sizes = [b - a for a, b in zip([0, *cuts], cuts)]
    given_sizes = list(sizes)
    if draw(st.booleans()):
        given_sizes[draw(st.integers(0, len(sizes) - 1))] = -1
    return Case(
        shape,
        [None, _ints(given_sizes), given_axis],
        options("SplitVOptions", numSplits=len(sizes)),
        lambda x, _: np.split(x, np.cumsum(sizes)[:-1], axis),
        "SPLIT_V",
    )


def _unpack(draw: Draw, shape: tuple[int, ...]) -> Case:
    axis = draw(st.integers(0, len(shape) - 1))
    n = min(shape[axis], 5)
    shape = (*shape[:axis], n, *shape[axis + 1 :])
    option = options("UnpackOptions", num=n, axis=axis - draw(st.sampled_from((0, len(shape)))))
    return Case(shape, [None], option, lambda x, _: list(np.moveaxis(x, axis, 0)), "UNPACK")


def _rename(draw: Draw, shape: tuple[int, ...]) -> Case:
    match draw(st.sampled_from(("RESHAPE", "EXPAND_DIMS", "SQUEEZE"))):
        case "RESHAPE":
            out = (shape[0], math.prod(shape[1:]))
            option = options("ReshapeOptions", newShape=list(out))
            return Case(shape, [None, _ints(out)], option, lambda x, _: x.reshape(out), "RESHAPE", 1)
        case "EXPAND_DIMS":
            axis = draw(st.integers(-len(shape) - 1, len(shape)))
            option = options("ExpandDimsOptions")
            return Case(
                shape, [None, _ints([axis])], option, lambda x, _: np.expand_dims(x, axis), "EXPAND_DIMS", 1
            )
    option = options("SqueezeOptions", squeezeDims=[0])
    return Case((1, *shape), [None], option, lambda x, _: x[0], "SQUEEZE", 1)


def _transpose(draw: Draw, shape: tuple[int, ...]) -> Case:
    perm = draw(st.permutations(range(len(shape))))
    return Case(
        shape, [None, _ints(perm)], options("TransposeOptions"), lambda x, _: x.transpose(perm), "TRANSPOSE"
    )


def _pad(draw: Draw, shape: tuple[int, ...]) -> Case:
    """PAD writes the zero point."""
    pads = [(draw(st.integers(0, 3)), draw(st.integers(0, 3))) for _ in shape]
    if len(shape) > 1:
        pads[0] = (0, 0)
    constants = [None, _ints(pads)]
    return Case(
        shape, constants, options("PadOptions"), lambda x, z: np.pad(x, pads, constant_values=z), "PAD"
    )


def _mirror_pad(draw: Draw, shape: tuple[int, ...]) -> Case:
    reflect = draw(st.booleans())
    most = [min(3, d - reflect) for d in shape]
    pads = [(draw(st.integers(0, m)), draw(st.integers(0, m))) for m in most]
    if len(shape) > 1:
        pads[0] = (0, 0)
    option = options("MirrorPadOptions", mode=0 if reflect else 1)
    mode = "reflect" if reflect else "symmetric"
    return Case(shape, [None, _ints(pads)], option, lambda x, _: np.pad(x, pads, mode), "MIRROR_PAD")


def _depth_to_space(draw: Draw, shape: tuple[int, ...]) -> Case:
    b = draw(st.integers(1, 3))
    n, h, w, c = shape

    def rule(x: np.ndarray, _: int) -> np.ndarray:
        return x.reshape(n, h, w, b, b, c).transpose(0, 1, 3, 2, 4, 5).reshape(n, h * b, w * b, c)

    option = options("DepthToSpaceOptions", blockSize=b)
    return Case((n, h, w, c * b**2), [None], option, rule, "DEPTH_TO_SPACE", 1)


def _space_to_depth(draw: Draw, shape: tuple[int, ...]) -> Case:
    b = draw(st.integers(1, 3))
    n, h, w, c = shape

    def rule(x: np.ndarray, _: int) -> np.ndarray:
        return x.reshape(n, h, b, w, b, c).transpose(0, 1, 3, 2, 4, 5).reshape(n, h, w, c * b**2)

    option = options("SpaceToDepthOptions", blockSize=b)
    return Case((n, h * b, w * b, c), [None], option, rule, "SPACE_TO_DEPTH", 1)


def _space_to_batch(draw: Draw, shape: tuple[int, ...]) -> Case:
    """Blocks of any size; what the paddings lack for whole blocks stands behind."""
    n, h, w, c = shape
    a, b = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    top, left = draw(st.integers(0, 2)), draw(st.integers(0, 2))
    pads = [(top, -(h + top) % a), (left, -(w + left) % b)]

    def rule(x: np.ndarray, z: int) -> np.ndarray:
        x = np.pad(x, [(0, 0), *pads, (0, 0)], constant_values=z)
        _, h, w, _ = x.shape
        parts = x.reshape(n, h // a, a, w // b, b, c).transpose(2, 4, 0, 1, 3, 5)
        return parts.reshape(n * a * b, h // a, w // b, c)

    constants = [None, _ints([a, b]), _ints(pads)]
    return Case(shape, constants, options("SpaceToBatchNDOptions"), rule, "SPACE_TO_BATCH_ND", 1)


def _batch_to_space(draw: Draw, shape: tuple[int, ...]) -> Case:
    n, h, w, c = shape
    a, b = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    crops = [(draw(st.integers(0, (d - 1) // 2)), draw(st.integers(0, (d - 1) // 2))) for d in (h * a, w * b)]

    def rule(x: np.ndarray, _: int) -> np.ndarray:
        out = x.reshape(a, b, n, h, w, c).transpose(2, 3, 0, 4, 1, 5).reshape(n, h * a, w * b, c)
        (top, bottom), (left, right) = crops
        return out[:, top : h * a - bottom, left : w * b - right]

    constants = [None, _ints([a, b]), _ints(crops)]
    shape = (n * a * b, h, w, c)
    return Case(shape, constants, options("BatchToSpaceNDOptions"), rule, "BATCH_TO_SPACE_ND", 1)


def _broadcast(draw: Draw, shape: tuple[int, ...]) -> Case:
    out = [draw(st.integers(1, 3)) for _ in range(draw(st.integers(0, 4 - len(shape))))] + list(shape)
    source = tuple(draw(st.sampled_from((1, d))) for d in shape)
    option = options("BroadcastToOptions")
    return Case(source, [None, _ints(out)], option, lambda x, _: np.broadcast_to(x, out), "BROADCAST_TO", 3)


def _tile(draw: Draw, shape: tuple[int, ...]) -> Case:
    times = [draw(st.integers(1, 3)) for _ in shape]
    return Case(
        shape, [None, _ints(times)], options("TileOptions"), lambda x, _: np.tile(x, times), "TILE", 3
    )


def _reverse(draw: Draw, shape: tuple[int, ...]) -> Case:
    axis = draw(st.sampled_from([i for i, d in enumerate(shape) if d <= 256] or [0]))
    shape = (*shape[:axis], min(shape[axis], 256), *shape[axis + 1 :])
    option = options("ReverseV2Options")
    return Case(shape, [None, _ints([axis])], option, lambda x, _: np.flip(x, axis), "REVERSE_V2", 3)


KINDS = {
    "SLICE": (_slice, any_shapes(1, 4)),
    "STRIDED_SLICE": (_strided_slice, any_shapes(1, 4)),
    "STRIDED_SLICE with a new axis": (_new_axis, shapes(2, 3)),
    "SPLIT": (_split, any_shapes(1, 4)),
    "UNPACK": (_unpack, any_shapes(1, 4)),
    "RESHAPE": (_rename, any_shapes(1, 4)),
    "TRANSPOSE": (_transpose, any_shapes(1, 5)),
    "PAD": (_pad, any_shapes(1, 4)),
    "MIRROR_PAD": (_mirror_pad, any_shapes(1, 4)),
    "DEPTH_TO_SPACE": (_depth_to_space, any_shapes(4, 4)),
    "SPACE_TO_DEPTH": (_space_to_depth, any_shapes(4, 4)),
    "SPACE_TO_BATCH_ND": (_space_to_batch, any_shapes(4, 4)),
    "BATCH_TO_SPACE_ND": (_batch_to_space, shapes(4, 4)),
    "BROADCAST_TO": (_broadcast, any_shapes(1, 4)),
    "TILE": (_tile, shapes(1, 4, max_side=6)),
    "REVERSE_V2": (_reverse, any_shapes(1, 4)),
}


@pytest.mark.parametrize("kind", KINDS)
@bounded(15)
@given(data=st.data(), machine=machines(), q=together(1), seed=seeds())
def test_of_one_input(kind: str, data: st.DataObject, machine: Machine, q: tuple, seed: int) -> None:
    make, shape_strategy = KINDS[kind]
    case = make(data.draw, data.draw(shape_strategy))
    (qx,) = q
    x = values(qx.dtype, case.shape, seed)

    def rule(x: np.ndarray) -> np.ndarray | list[np.ndarray]:
        return case.rule(x, qx.zero_point)

    results = rule(x) if isinstance(rule(x), list) else [rule(x)]
    inputs = [
        Operand(case.shape, *qx) if c is None else Operand(c.shape, "int32", data=c) for c in case.inputs
    ]
    outputs = [Operand(y.shape, *qx) for y in results]
    check(build(case.operator, inputs, outputs, case.option, case.version), [x], rule, machine=machine)


@bounded(15)
@given(data=st.data(), machine=machines(), q=together(1), shape=any_shapes(1, 4), seed=seeds())
def test_padv2(data: st.DataObject, machine: Machine, q: tuple, shape: tuple, seed: int) -> None:
    """With any value of the tensor's scale."""
    (qx,) = q
    case = _pad(data.draw, shape)
    fill = values(qx.dtype, (1,), seed + 1)
    operands = [Operand(shape, *qx), Operand(case.inputs[1].shape, "int32", data=case.inputs[1])]
    operands.append(Operand((1,), *qx, fill))
    x = values(qx.dtype, shape, seed)

    def rule(x: np.ndarray) -> np.ndarray:
        return case.rule(x, int(fill[0]))

    model = build("PADV2", operands, Operand(rule(x).shape, *qx), options("PadV2Options"), 2)
    check(model, [x], rule, machine=machine)


def _joined_along(data: st.DataObject, shape: tuple[int, ...], q: tuple) -> tuple[int, list[tuple], list]:
    axis = data.draw(st.sampled_from(_movable(shape)))
    sizes = [shape[axis], *(data.draw(st.integers(1, 5)) for _ in range(data.draw(st.integers(0, 2))))]
    parts = [(*shape[:axis], size, *shape[axis + 1 :]) for size in sizes]
    return axis, parts, [data.draw(st.sampled_from(q)) for _ in parts]


@bounded(25)
@given(data=st.data(), machine=machines(), q=together(3), shape=any_shapes(1, 4), seed=seeds())
def test_concatenation(data: st.DataObject, machine: Machine, q: tuple, shape: tuple, seed: int) -> None:
    """uint8 inputs may have other scales than the output."""
    axis, parts, qs = _joined_along(data, shape, q if q[0].dtype == "uint8" else q[:1])
    qy: Quantization = q[0]
    arrays = [values(qx.dtype, part, seed + i) for i, (part, qx) in enumerate(zip(parts, qs))]

    def rule(*arrays: np.ndarray) -> np.ndarray:
        moved = [concat_part_builtin(x, *qx[1:], *qy[1:]) for x, qx in zip(arrays, qs)]
        return np.concatenate(moved, axis)

    operands = [Operand(part, *qx) for part, qx in zip(parts, qs)]
    option = options("ConcatenationOptions", axis=axis - data.draw(st.sampled_from((0, len(shape)))))
    model = build("CONCATENATION", operands, Operand(rule(*arrays).shape, *qy), option, 2)
    check(model, arrays, rule, machine=machine)


@bounded(15)
@given(data=st.data(), machine=machines(), q=together(1), shape=any_shapes(1, 3), seed=seeds())
def test_pack(data: st.DataObject, machine: Machine, q: tuple, shape: tuple, seed: int) -> None:
    (qx,) = q
    axis = data.draw(st.sampled_from(_movable((*shape, 1))))
    count = data.draw(st.integers(1, 3))
    arrays = [values(qx.dtype, shape, seed + i) for i in range(count)]
    option = options("PackOptions", axis=axis, valuesCount=count)
    output = Operand(np.stack(arrays, axis).shape, *qx)
    model = build("PACK", [Operand(shape, *qx)] * count, output, option, 2)
    check(model, arrays, lambda *arrays: np.stack(arrays, axis), machine=machine)


@pytest.mark.parametrize("kind", ["SLICE", "STRIDED_SLICE", "PAD", "MIRROR_PAD", "DEPTH_TO_SPACE"])
@bounded(6)
@given(data=st.data(), machine=machines(), q=together(1), seed=seeds())
def test_in_a_batch(kind: str, data: st.DataObject, machine: Machine, q: tuple, seed: int) -> None:
    """Three samples at once; no dimension but the first has them."""
    (qx,) = q
    make, _ = KINDS[kind]
    case = make(data.draw, (1, *data.draw(shapes(3, 3))))
    x = values(qx.dtype, (3, *case.shape[1:]), seed)
    made = case.rule(x[:1], qx.zero_point)
    inputs = [
        Operand(case.shape, *qx) if c is None else Operand(c.shape, "int32", data=c) for c in case.inputs
    ]
    outputs = [Operand(y.shape, *qx) for y in (made if isinstance(made, list) else [made])]
    model = build(case.operator, inputs, outputs, case.option, case.version)
    check(model, [x], machine=machine, batch_size=3)
