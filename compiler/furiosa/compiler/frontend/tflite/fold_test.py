"""Folding of shape arithmetic against the reference runtime."""

from __future__ import annotations

import numpy as np
import pytest

from furiosa.compiler.frontend.tflite import fold
from furiosa.compiler.frontend.tflite.importer import import_tflite
from furiosa.compiler.frontend.tflite.testing import ModelBuilder, options, run

A, B = [[7, -7, 3], [0, 2, -9]], [[2, 2, -2], [5, -1, 4]]
CASES = {
    "ADD": ([A, B], [2, 3], options("AddOptions")),
    "SUB": ([A, B], [2, 3], options("SubOptions")),
    "MUL": ([A, [2, 3, 4]], [2, 3], options("MulOptions")),
    "MAXIMUM": ([A, B], [2, 3], None),
    "MINIMUM": ([A, B], [2, 3], None),
    "CAST": ([A], [2, 3], options("CastOptions", inDataType=2, outDataType=2)),
    "CONCATENATION": ([A, B], [4, 3], options("ConcatenationOptions", axis=0)),
    "EXPAND_DIMS": ([A, -1], [2, 3, 1], None),
    "GATHER": ([A, [2, 0]], [2, 2], options("GatherOptions", axis=1)),
    "PACK": ([A, B], [2, 2, 3], options("PackOptions", valuesCount=2, axis=1)),
    "REDUCE_PROD": ([A, [1]], [2], options("ReducerOptions")),
    "SLICE": ([A, [0, 1], [-1, 2]], [2, 2], None),
    "SQUEEZE": ([[[[1, 2]]]], [2], options("SqueezeOptions", squeezeDims=[0, 1])),
    "STRIDED_SLICE": ([A, [1, 2], [2, 0], [1, -1]], [2], options("StridedSliceOptions", shrinkAxisMask=1, beginMask=2)),
    "RANK": ([A], [], None),
    "SHAPE": ([A], [2], options("ShapeOptions", outType=2)),
}  # fmt: skip


def build(op_type: str) -> bytes:
    """The operator on constants, its result added to an activation so that the runtime has something to run."""
    values, shape, opts = CASES[op_type]
    b = ModelBuilder()
    constants = [b.tensor(f"c{i}", list(np.shape(v)), "int32", v) for i, v in enumerate(values)]
    x, y, z = (b.tensor(n, shape, "int32") for n in "xyz")
    b.operator(op_type, constants, [y], opts)
    b.operator("ADD", [x, y], [z], options("AddOptions"))
    return b.build([x], [z])


@pytest.mark.parametrize("op_type", CASES)
def test_folded_equals_run(op_type: str) -> None:
    data = build(op_type)
    graph = import_tflite(data)
    assert [op.op_type for op in graph.operators] == ["ADD"], "not folded"
    folded = graph.operators[0].inputs[1]
    assert folded.shape == folded.data.shape and not folded.data.flags.writeable
    (expected,) = run(data, [np.zeros(graph.inputs[0].shape, np.int32)])
    np.testing.assert_array_equal(folded.data, expected)


def test_every_operator_is_tested() -> None:
    assert set(CASES) >= set(fold._FOLDS)


def test_invalid_arithmetic_is_left_to_the_runtime() -> None:
    b = ModelBuilder()
    a, i, y = (
        b.tensor("a", [2], "int32", [1, 2]),
        b.tensor("i", [1], "int32", [9]),
        b.tensor("y", [1], "int32"),
    )
    b.operator("GATHER", [a, i], [y], options("GatherOptions"))
    assert len(import_tflite(b.build([], [y])).operators) == 1
