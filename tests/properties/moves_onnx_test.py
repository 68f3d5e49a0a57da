"""ONNX operators that move values: as QDQ, with the same and with other scales in and out, and on bytes as they are."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from tests.properties.harness import Machine, bounded, check
from tests.properties.strategies import Quantization, any_shapes, machines, seeds, shapes, together, values
from tests.reference import onnx_op, table

TYPES = {"int8": TensorProto.INT8, "uint8": TensorProto.UINT8}
Draw = Callable[[st.SearchStrategy], object]


class Case(NamedTuple):
    """One operator: its input's shape, attributes, constant inputs after the data, and what it does to an array, in NumPy."""

    op_type: str
    shape: tuple[int, ...]
    attributes: dict
    constants: list[np.ndarray]
    rule: Callable[[np.ndarray], np.ndarray]
    opset: int = 13


def _ints(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def _slice(draw: Draw, shape: tuple[int, ...]) -> Case:
    """Of height or channels, with any steps, out-of-range ends, negative axes."""
    axes = draw(st.sets(st.sampled_from([a for a in (1, 2) if a < len(shape)] or [0]), min_size=1))
    axes = sorted(axes, key=lambda a: draw(st.integers()))
    starts, ends, steps, index = [], [], [], [slice(None)] * len(shape)
    for axis in axes:
        d = shape[axis]
        step = draw(st.sampled_from((1, 1, 2, 3, -1, -2) if d <= 64 else (1, 2, 3)))
        first, last = sorted((draw(st.integers(0, d - 1)), draw(st.integers(0, d - 1))))
        if step > 0:
            start, end = first, draw(st.sampled_from((last + 1, 2**31 if last == d - 1 else last + 1)))
        else:
            start, end = last, (first - 1 if first else -(2**31))
        if draw(st.booleans()) and start:
            start -= d
        starts, ends, steps = [*starts, start], [*ends, end], [*steps, step]
        index[axis] = slice(start, end if end > -(2**31) else None, step)
    given_axes = [a - len(shape) if draw(st.booleans()) else a for a in axes]
    if all(s == 1 for s in steps) and draw(st.booleans()):
        old = {"starts": starts, "ends": ends, "axes": axes}
        return Case("Slice", shape, old, [], lambda x: x[tuple(index)], opset=9)
    constants = [_ints(*starts), _ints(*ends), _ints(*given_axes), _ints(*steps)]
    return Case("Slice", shape, {}, constants, lambda x: x[tuple(index)])


def _expand(draw: Draw, shape: tuple[int, ...]) -> Case:
    ones = [i for i in range(len(shape)) if draw(st.booleans())]
    source = tuple(1 if i in ones else d for i, d in enumerate(shape))
    out = [draw(st.integers(1, 4)) for _ in range(draw(st.integers(0, 4 - len(shape))))] + list(shape)
    return Case("Expand", source, {}, [_ints(*out)], lambda x: np.broadcast_to(x, out))


def _tile(draw: Draw, shape: tuple[int, ...]) -> Case:
    repeats = [draw(st.integers(1, 3)) for _ in shape]
    return Case("Tile", shape, {}, [_ints(*repeats)], lambda x: np.tile(x, repeats))


def _transpose(draw: Draw, shape: tuple[int, ...]) -> Case:
    perm = draw(st.permutations(range(len(shape))))
    return Case("Transpose", shape, {"perm": list(perm)}, [], lambda x: x.transpose(perm))


def _reshape(draw: Draw, shape: tuple[int, ...]) -> Case:
    rank = len(shape)
    match draw(st.sampled_from(("Reshape", "Flatten", "Unsqueeze", "Squeeze", "Identity", "Dropout"))):
        case "Reshape":
            out = [shape[0], -1]
            return Case("Reshape", shape, {}, [_ints(*out)], lambda x: x.reshape(out))
        case "Flatten":
            axis = draw(st.integers(0, rank))
            n = int(np.prod(shape[:axis]))
            return Case("Flatten", shape, {"axis": axis}, [], lambda x: x.reshape(n, -1))
        case "Unsqueeze":
            axis = draw(st.integers(-rank - 1, rank))
            return Case("Unsqueeze", shape, {}, [_ints(axis)], lambda x: np.expand_dims(x, axis))
        case "Squeeze":
            return Case("Squeeze", (1, *shape), {}, [_ints(0)], lambda x: x[0])
        case kind:
            return Case(kind, shape, {}, [], lambda x: x)


def _depth_to_space(draw: Draw, shape: tuple[int, ...]) -> Case:
    block, mode = draw(st.integers(2, 3)), draw(st.sampled_from(("DCR", "CRD")))
    n, c, h, w = shape

    def rule(x: np.ndarray) -> np.ndarray:
        if mode == "DCR":
            parts = x.reshape(n, block, block, c, h, w).transpose(0, 3, 4, 1, 5, 2)
        else:
            parts = x.reshape(n, c, block, block, h, w).transpose(0, 1, 4, 2, 5, 3)
        return parts.reshape(n, c, h * block, w * block)

    attributes = {"blocksize": block, "mode": mode}
    return Case("DepthToSpace", (n, c * block**2, h, w), attributes, [], rule)


def _space_to_depth(draw: Draw, shape: tuple[int, ...]) -> Case:
    block = draw(st.integers(2, 3))
    n, c, h, w = shape

    def rule(x: np.ndarray) -> np.ndarray:
        parts = x.reshape(n, c, h, block, w, block).transpose(0, 3, 5, 1, 2, 4)
        return parts.reshape(n, c * block**2, h, w)

    return Case("SpaceToDepth", (n, c, h * block, w * block), {"blocksize": block}, [], rule)


def _gather(draw: Draw, shape: tuple[int, ...]) -> Case:
    """One index, a list or a matrix of them, in any order, again and again, counted from the end."""
    axis = draw(st.integers(0, len(shape) - 1))
    size = shape[axis]
    dims = draw(st.sampled_from(((), (1,), (7,), (3, 5), (60,), (1, 1, 4))))
    kind = draw(st.sampled_from(("any", "in order", "every second")))
    rng = np.random.default_rng(draw(st.integers(0, 999)))
    indices = rng.integers(-size, size, dims)
    if kind != "any":
        step = 1 + (kind == "every second")
        indices = (np.arange(indices.size).reshape(dims) * step) % size
    indices = indices.astype(draw(st.sampled_from(("int32", "int64"))))
    stated = axis - len(shape) if draw(st.booleans()) else axis
    return Case("Gather", shape, {"axis": stated}, [indices], lambda x: np.asarray(np.take(x, indices, axis)))


def _paddings(draw: Draw, shape: tuple[int, ...], most: Callable[[int], int]) -> list[tuple[int, int]]:
    """Not along the batch."""
    sides = [(draw(st.integers(0, most(d))), draw(st.integers(0, most(d)))) for d in shape]
    return sides if len(shape) == 1 else [(0, 0), *sides[1:]]


def _pad_mirror(draw: Draw, shape: tuple[int, ...]) -> Case:
    mode = draw(st.sampled_from(("edge", "reflect", "wrap")))
    pads = _paddings(draw, shape, lambda d: min(3, d - (mode == "reflect") if mode != "edge" else 3))
    constants = [_ints(*(b for b, _ in pads), *(a for _, a in pads))]
    return Case("Pad", shape, {"mode": mode}, constants, lambda x: np.pad(x, pads, mode), 19)


KINDS = {
    "Slice": (_slice, any_shapes(1, 4)),
    "Expand": (_expand, any_shapes(1, 4)),
    "Tile": (_tile, shapes(1, 4, max_side=6)),
    "Transpose": (_transpose, any_shapes(1, 5)),
    "Reshape": (_reshape, any_shapes(1, 4)),
    "DepthToSpace": (_depth_to_space, any_shapes(4, 4)),
    "SpaceToDepth": (_space_to_depth, any_shapes(4, 4)),
    "Gather": (_gather, any_shapes(1, 5)),
    "Pad": (_pad_mirror, any_shapes(1, 4)),
}


@pytest.mark.parametrize("kind", KINDS)
@bounded(20)
@given(data=st.data(), machine=machines(), q=together(2), seed=seeds())
def test_of_one_input(kind: str, data: st.DataObject, machine: Machine, q: tuple, seed: int) -> None:
    make, shape_strategy = KINDS[kind]
    case = make(data.draw, data.draw(shape_strategy))
    forms = ["same scale", "other scale", "bytes"]
    if case.op_type == "Dropout":  # of real numbers only
        forms.remove("bytes")
    if case.opset < 10:  # has no DequantizeLinear
        forms = ["bytes"]
    form = data.draw(st.sampled_from(forms))
    _check(case, form, machine, q, seed)


def _check(case: Case, form: str, machine: Machine, q: tuple, seed: int) -> None:
    qx = q[0]
    qy = q[1] if form == "other scale" else qx
    x = values(qx.dtype, case.shape, seed)
    y_shape = case.rule(x).shape
    operands = [
        onnx_op.Operand(shape, *quantization) for shape, quantization in ((case.shape, qx), (y_shape, qy))
    ]
    if form == "bytes":
        for operand in operands:
            operand.scale = None
    chain = [(case.op_type, {"inputs": case.constants, **case.attributes})]
    model = onnx_op.build_qdq(chain, operands[:1], operands[1], case.opset)
    entries = table.values(qx.dtype)
    if form == "other scale":
        entries = _table(qx, qy)
    check(model, [x], lambda x: case.rule(table.lookup(x, entries)), machine=machine)


def _table(qx: Quantization, qy: Quantization) -> np.ndarray:
    return table.table_onnxruntime(table.identity, *qx[1:], *qy[1:], qx.dtype)


@bounded(25)
@given(data=st.data(), machine=machines(), q=together(2), shape=any_shapes(1, 4), seed=seeds())
def test_constant_pad(data: st.DataObject, machine: Machine, q: tuple, shape: tuple, seed: int) -> None:
    """Any value, also one beyond the range of the output's scale; some axes only; negative paddings take away."""
    qx, qy = q[0], data.draw(st.sampled_from(q))
    low = st.sampled_from((0, 0, -1))
    pads = [(data.draw(low), data.draw(low)) if d > 2 else (0, 0) for d in shape]
    wide = _paddings(data.draw, shape, lambda d: 3)
    pads = [(b or w, a or v) for (b, a), (w, v) in zip(pads, wide)]
    axes = list(range(len(shape))) if len(shape) == 1 else list(range(1, len(shape)))
    if len(shape) > 1:
        pads[0] = (0, 0)
    value = np.float32(data.draw(st.sampled_from((0.0, 0.3, -1.7, 1e9, -1e9))))
    constants = [_ints(*(pads[a][0] for a in axes), *(pads[a][1] for a in axes)), value, _ints(*axes)]
    chain = [("Pad", {"inputs": constants, "mode": "constant"})]
    info = np.iinfo(qx.dtype)
    fill = int(np.clip(np.rint(value / np.float32(qy.scale)) + qy.zero_point, info.min, info.max))

    def rule(x: np.ndarray) -> np.ndarray:
        cut = x[tuple(slice(max(-b, 0), d - max(-a, 0)) for (b, a), d in zip(pads, x.shape))]
        wider = [(max(b, 0), max(a, 0)) for b, a in pads]
        return np.pad(table.lookup(cut, entries), wider, constant_values=fill)

    entries = table.values(qx.dtype) if qx == qy else _table(qx, qy)
    x = values(qx.dtype, shape, seed)
    y = onnx_op.Operand(rule(x).shape, *qy)
    check(onnx_op.build_qdq(chain, [onnx_op.Operand(shape, *qx)], y, 18), [x], rule, machine=machine)


@bounded(20)
@given(data=st.data(), machine=machines(), q=together(3), shape=any_shapes(2, 4), seed=seeds())
def test_concat(data: st.DataObject, machine: Machine, q: tuple, shape: tuple, seed: int) -> None:
    axis = data.draw(st.sampled_from([a for a in (1, 2) if a < len(shape)]))
    form = data.draw(st.sampled_from(("QDQ", "QLinearConcat", "same scale")))
    *inputs, qy = q if form != "same scale" else (q[0],) * 3
    sizes = [data.draw(st.integers(1, 5)) for _ in inputs[1:]]
    parts = [shape, *((*shape[:axis], n, *shape[axis + 1 :]) for n in sizes)]
    arrays = [values(qx.dtype, part, seed + i) for i, (qx, part) in enumerate(zip(inputs, parts))]
    tables = [table.values(qy.dtype) if qx == qy else _table(qx, qy) for qx in inputs]

    def rule(*arrays: np.ndarray) -> np.ndarray:
        return np.concatenate([table.lookup(x, t) for x, t in zip(arrays, tables)], axis)

    operands = [onnx_op.Operand(part, *qx) for part, qx in zip(parts, inputs)]
    output = onnx_op.Operand(rule(*arrays).shape, *qy)
    if form == "QLinearConcat":
        model = onnx_op.build_qoperator(form, operands, output, domain="com.microsoft", axis=axis)
    else:
        model = onnx_op.build_qdq(
            "Concat", operands, output, axis=axis - data.draw(st.sampled_from((0, len(shape))))
        )
    check(model, arrays, rule, machine=machine)


@bounded(20)
@given(data=st.data(), machine=machines(), q=together(4), shape=any_shapes(1, 5), seed=seeds())
def test_split(data: st.DataObject, machine: Machine, q: tuple, shape: tuple, seed: int) -> None:
    """Along any axis, in equal or uneven parts, each with its own scale."""
    axis = data.draw(st.integers(0, len(shape) - 1))
    cuts = sorted(data.draw(st.sets(st.integers(1, shape[axis]), max_size=2)) | {shape[axis]})
    sizes = [b - a for a, b in zip([0, *cuts], cuts)]
    qx, *qs = (data.draw(st.sampled_from(q[:2] if i else q[:1])) for i in range(1 + len(sizes)))
    nodes = [helper.make_node("DequantizeLinear", ["x", "x_s", "x_z"], ["real"])]
    nodes.append(
        helper.make_node("Split", ["real", "sizes"], [f"p{i}" for i in range(len(sizes))], axis=axis)
    )
    constants = {
        "x_s": np.float32(qx.scale),
        "x_z": np.array(qx.zero_point, qx.dtype),
        "sizes": _ints(*sizes),
    }
    results = []
    for i, (size, qy) in enumerate(zip(sizes, qs)):
        constants |= {f"s{i}": np.float32(qy.scale), f"z{i}": np.array(qy.zero_point, qy.dtype)}
        nodes.append(helper.make_node("QuantizeLinear", [f"p{i}", f"s{i}", f"z{i}"], [f"y{i}"]))
        part = (*shape[:axis], size, *shape[axis + 1 :])
        results.append(helper.make_tensor_value_info(f"y{i}", TYPES[qy.dtype], part))
    graph = helper.make_graph(
        nodes,
        "split",
        [helper.make_tensor_value_info("x", TYPES[qx.dtype], shape)],
        results,
        [numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    tables = [table.values(qy.dtype) if qx == qy else _table(qx, qy) for qy in qs]

    def rule(x: np.ndarray) -> list[np.ndarray]:
        return [table.lookup(p, t) for p, t in zip(np.split(x, np.cumsum(sizes)[:-1], axis), tables)]

    check(model.SerializeToString(), [values(qx.dtype, shape, seed)], rule, machine=machine)


@bounded(15)
@given(data=st.data(), machine=machines(), q=together(2), shape=shapes(2, 4), seed=seeds())
def test_a_constant_in_a_concat(
    data: st.DataObject, machine: Machine, q: tuple, shape: tuple, seed: int
) -> None:
    axis = data.draw(st.sampled_from([a for a in (1, 2) if a < len(shape)]))
    qx, qy = q
    stored = values(qx.dtype, shape, seed + 1)
    operands = [onnx_op.Operand(shape, *qx), onnx_op.Operand(shape, *qx, stored)]
    if data.draw(st.booleans()):
        operands.reverse()

    def rule(x: np.ndarray) -> np.ndarray:
        parts = [x if operand.data is None else stored for operand in operands]
        return table.lookup(np.concatenate(parts, axis), _table(qx, qy))

    x = values(qx.dtype, shape, seed)
    model = onnx_op.build_qdq("Concat", operands, onnx_op.Operand(rule(x).shape, *qy), axis=axis)
    check(model, [x], rule, machine=machine)


@pytest.mark.parametrize("kind", ["Slice", "Pad", "Reshape", "DepthToSpace", "Tile"])
@bounded(8)
@given(data=st.data(), machine=machines(), q=together(1), seed=seeds())
def test_in_a_batch(kind: str, data: st.DataObject, machine: Machine, q: tuple, seed: int) -> None:
    """Three samples at once, where the operator keeps them apart."""
    (qx,) = q
    make, _ = KINDS[kind]
    shape = (1, *data.draw(shapes(3, 3)))
    case = make(data.draw, shape)
    assume(case.opset >= 13 and case.op_type not in ("Unsqueeze", "Squeeze", "Flatten"))
    if kind == "Tile":
        case.constants[0][0] = 1
    x = values(qx.dtype, (3, *case.shape[1:]), seed)
    chain = [(case.op_type, {"inputs": case.constants, **case.attributes})]
    y = onnx_op.Operand(case.rule(x[:1]).shape, *qx)
    model = onnx_op.build_qdq(chain, [onnx_op.Operand(case.shape, *qx)], y, case.opset)
    check(model, [x], machine=machine, batch_size=3)


@pytest.mark.parametrize("kind", ["channels", "pixels"])
@bounded(12)
@given(data=st.data(), machine=machines(), q=together(1), seed=seeds())
def test_a_shuffle_between_convolutions(
    kind: str, data: st.DataObject, machine: Machine, q: tuple, seed: int
) -> None:
    """As exporters write it, Reshape, Transpose, Reshape: one move between operators with the channels last."""
    (qx,) = q
    n, g, c, h, w = (data.draw(st.integers(1, most)) for most in (2, 3, 5, 20, 20))
    if kind == "channels":
        apart, perm, joined = [n, g, c, h, w], [0, 2, 1, 3, 4], [n, g * c, h, w]
        channels = g * c
    else:
        apart, perm, joined = [n, c, g, g, h, w], [0, 1, 4, 2, 5, 3], [n, c, h * g, w * g]
        channels = c * g * g
    rng = np.random.default_rng(seed)
    first = rng.integers(-127, 128, (channels, 3, 1, 1)).astype(np.int8)
    last = rng.integers(-127, 128, (4, joined[1], 1, 1)).astype(np.int8)
    around = {"s": np.float32(qx.scale), "z": np.array(qx.zero_point, qx.dtype)}
    constants = {**around, "v": np.float32(0.01), "o": np.int8(0), "first": first, "last": last}
    constants |= {"apart": _ints(*apart), "joined": _ints(*joined)}
    nodes = [
        helper.make_node("QLinearConv", ["x", "s", "z", "first", "v", "o", "s", "z"], ["a"]),
        helper.make_node("Reshape", ["a", "apart"], ["b"]),
        helper.make_node("Transpose", ["b"], ["c"], perm=perm),
        helper.make_node("Reshape", ["c", "joined"], ["d"]),
        helper.make_node("QLinearConv", ["d", "s", "z", "last", "v", "o", "s", "z"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "shuffle",
        [helper.make_tensor_value_info("x", TYPES[qx.dtype], (n, 3, h, w))],
        [helper.make_tensor_value_info("y", TYPES[qx.dtype], (n, 4, *joined[2:]))],
        [numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    check(model.SerializeToString(), [values(qx.dtype, (n, 3, h, w), seed)], machine=machine)
