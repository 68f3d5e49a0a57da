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


def _moves(draw: st.DrawFn, shape: tuple[int, ...]) -> tuple[list[Move], tuple[int, ...]]:
    """One to three moves of a tensor, and the shape that it has then."""
    moves: list[Move] = []
    for kind in draw(
        st.lists(
            st.sampled_from(("Reshape", "Transpose", "Unsqueeze", "Squeeze", "Slice")), min_size=1, max_size=3
        )
    ):
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
    moves, moved = _moves(data.draw, made)
    *qs, qy = q
    if work == "normalised":  # the integer kernel knows one output scale
        qy = (qy.dtype, 1 / 256, int(np.iinfo(qy.dtype).min))
    operands = [onnx_op.Operand(shape, *own) for own in qs[:count]]
    opset = 20 if work == "a function" else 13
    model = onnx_op.build_qdq([*chain, *moves], operands, onnx_op.Operand(moved, *qy), opset)
    check(model, [values(own.dtype, shape, seed + i) for i, own in enumerate(qs[:count])], machine=machine)
