"""ONNX: results that are moved before they are quantised, as exporters write them: Gelu, Reshape, QuantizeLinear."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.properties.harness import Machine, bounded, check
from tests.properties.strategies import machines, seeds, shapes, together, values
from tests.reference import onnx_op
from tests.reference.rounding import f32

Move = tuple[str, dict]

PASSED = (
    "Reshape",
    "Transpose",
    "Unsqueeze",
    "Squeeze",
    "Slice",
)  # past which onnxruntime takes the quantisation
OTHERS = ("Flatten", "Gather", "Tile", "Pad")  # past which it computes in real numbers

# what is moved: operators, and how many quantised operands they have
WORK: dict[str, tuple[list[Move], int]] = {
    "a function": ([("Gelu", {"approximate": "none"})], 1),
    "a chain": ([("Sigmoid", {}), ("Mul", {"inputs": [f32(3)]}), ("Tanh", {})], 1),
    "fused": ([("Add", {})], 2),
    "with an activation": ([("Mul", {}), ("Relu", {})], 2),
    "by a constant": ([("Div", {"inputs": [f32(3)]})], 1),
    "a reduction": ([("ReduceMax", {"axes": [-1], "keepdims": 1})], 1),
    "normalised": ([("Softmax", {"axis": -1})], 1),
    "a move": ([("Gather", {"inputs": [np.array([0, 0], np.int64)], "axis": 1})], 1),
    "several moves": ([("Tile", {"inputs": [np.array([1, 2, 1], np.int64)]})], 1),
}


def _ints(*numbers: int) -> dict:
    return {"inputs": [np.array(numbers, np.int64)]}


def _moves(
    draw: st.DrawFn, kinds: tuple[str, ...], shape: tuple[int, ...]
) -> tuple[list[Move], tuple[int, ...]]:
    """One to three moves of a tensor, and the shape that it has then."""
    moves: list[Move] = []
    for kind in draw(st.lists(st.sampled_from(kinds), min_size=1, max_size=3)):
        if kind == "Reshape":
            shape = (shape[0], math.prod(shape[1:])) if len(shape) > 2 else (math.prod(shape),)
            moves.append((kind, _ints(*shape)))
        elif kind == "Transpose":
            perm = draw(st.permutations(range(len(shape))))
            shape = tuple(shape[p] for p in perm)
            moves.append((kind, {"perm": list(perm)}))
        elif kind == "Unsqueeze":
            shape = (1, *shape)
            moves.append((kind, _ints(0)))
        elif kind == "Squeeze" and 1 in shape[:-1]:
            axis = shape.index(1)
            shape = (*shape[:axis], *shape[axis + 1 :])
            moves.append((kind, _ints(axis)))
        elif kind == "Gather":
            axis = draw(st.integers(0, len(shape) - 1))
            taken = [shape[axis] - 1, 0]
            shape = (*shape[:axis], 2, *shape[axis + 1 :])
            moves.append((kind, {"axis": axis, "inputs": [np.array(taken, np.int64)]}))
        elif kind == "Tile":
            shape = (*shape[:-1], 2 * shape[-1])
            moves.append((kind, _ints(*(1,) * (len(shape) - 1), 2)))
        elif kind == "Pad" and 2 <= len(shape) <= 4:
            pads = [0] * (2 * len(shape))
            pads[1], pads[len(shape) + 1] = 1, 2
            shape = (shape[0], shape[1] + 3, *shape[2:])
            value = draw(st.sampled_from((0.0, -1.3, 100.0)))
            moves.append((kind, {"inputs": [np.array(pads, np.int64), f32(value)]}))
        elif kind == "Flatten" and shape:
            shape = (shape[0], math.prod(shape[1:]))
            moves.append((kind, {"axis": 1}))
        elif kind == "Slice" and len(shape) > 1:
            part = (shape[1] + 1) // 2
            shape = (shape[0], part, *shape[2:])
            bounds = [np.array([v], np.int64) for v in (0, part, 1)]
            moves.append((kind, {"inputs": bounds}))
    return moves, shape


@pytest.mark.parametrize("work", WORK)
@bounded(12)
@given(data=st.data(), machine=machines(), q=together(3), shape=shapes(3, 3), seed=seeds())
def test_moved_results(
    work: str, data: st.DataObject, machine: Machine, q: tuple, shape: tuple, seed: int
) -> None:
    chain, count = WORK[work]
    shape = (min(shape[0], 2), *shape[1:])
    made = shape
    if work == "a reduction":
        made = (*shape[:-1], 1)
    elif work == "a move":
        made = (shape[0], 2, shape[2])
    elif work == "several moves":
        made = (shape[0], 2 * shape[1], shape[2])
    moves, moved = _moves(data.draw, (*PASSED, *(OTHERS if work != "normalised" else ())), made)
    *qs, qy = q
    if work == "normalised":  # the integer kernel knows one output scale
        qy = (qy.dtype, 1 / 256, int(np.iinfo(qy.dtype).min))
    operands = [onnx_op.Operand(shape, *own) for own in qs[:count]]
    opset = 20 if work == "a function" else 13
    model = onnx_op.build_qdq([*chain, *moves], operands, onnx_op.Operand(moved, *qy), opset)
    check(model, [values(own.dtype, shape, seed + i) for i, own in enumerate(qs[:count])], machine=machine)


@pytest.mark.parametrize("kind", ["Gather", "Tile", "Expand", "Flatten", "DepthToSpace"])
@bounded(12)
@given(
    machine=machines(),
    q=together(3),
    shape=shapes(3, 3),
    work=st.sampled_from(("Add", "Mul", "Div")),
    seed=seeds(),
)
def test_moved_before_it_is_used(
    kind: str, machine: Machine, q: tuple, shape: tuple, work: str, seed: int
) -> None:
    """DequantizeLinear, a move without quantisation of its own, an operator that onnxruntime then computes in real numbers."""
    qa, qb, qy = q
    n, c, w = shape
    shape, fields, moved = {
        "Gather": (shape, {"axis": 2, "inputs": [np.array([0, w - 1, 0], np.int64)]}, (n, c, 3)),
        "Tile": (shape, _ints(1, 2, 1), (n, 2 * c, w)),
        "Expand": ((n, 1, w), _ints(n, c, w), (n, c, w)),
        "Flatten": (shape, {"axis": 1}, (n, c * w)),
        "DepthToSpace": ((1, 4 * n, c, w), {"blocksize": 2}, (1, n, 2 * c, 2 * w)),
    }[kind]
    other = values(qb.dtype, moved[-1:], seed + 1).astype(int) - qb.zero_point
    constant = np.where(other == 0, 1, other).astype(f32) * f32(qb.scale)
    chain = [(kind, fields), (work, {"inputs": [constant]})]
    model = onnx_op.build_qdq(chain, [onnx_op.Operand(shape, *qa)], onnx_op.Operand(moved, *qy))
    check(model, [values(qa.dtype, shape, seed)], machine=machine)
