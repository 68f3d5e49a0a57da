"""Batch size: what grows, what is refused, against separate runs of the reference runtime."""

from __future__ import annotations

import numpy as np
import pytest

from furiosa.compiler.errors import InvalidModel
from furiosa.compiler.frontend.tflite.extract import extract
from furiosa.compiler.frontend.tflite.importer import import_tflite
from furiosa.compiler.frontend.tflite.testing import ModelBuilder, options, random_inputs, run


def one(
    op_type: str, shape: list[int], out: list[int], *constants: tuple, opts=None, first: bool = True
) -> bytes:
    """A float model of one operator on x and int32 constants (which precede x if not ``first``)."""
    b = ModelBuilder()
    x = b.tensor("x", shape, "float32")
    extra = [b.tensor(f"c{i}", list(np.shape(c)), dtype, c) for i, (dtype, c) in enumerate(constants)]
    y = b.tensor("y", out, "float32")
    b.operator(op_type, [x, *extra] if first else [*extra, x], [y], opts)
    return b.build([x], [y])


GOOD = {
    "unary": one("RELU", [1, 3], [1, 3]),
    "per channel constant": one("ADD", [1, 2, 3], [1, 2, 3], ("float32", [1.0, 2.0, 3.0]), opts=options("AddOptions")),
    "constant of several rows": one("MUL", [2, 2], [2, 2], ("float32", [[1, 2], [3, 4]]), opts=options("MulOptions")),
    "reshape": one("RESHAPE", [1, 4], [1, 2, 2], ("int32", [1, 2, 2]), opts=options("ReshapeOptions", newShape=[1, 2, 2])),
    "reshape to the rest": one("RESHAPE", [1, 4], [1, 2, 2], ("int32", [-1, 2, 2]), opts=options("ReshapeOptions", newShape=[-1, 2, 2])),
    "concat with a constant": one("CONCATENATION", [1, 2], [1, 4], ("float32", [[5, 6]]), opts=options("ConcatenationOptions", axis=1)),
    "transpose": one("TRANSPOSE", [1, 2, 3], [1, 3, 2], ("int32", [0, 2, 1])),
    "mean": one("MEAN", [1, 4, 4, 2], [1, 2], ("int32", [1, 2]), opts=options("ReducerOptions")),
    "pad": one("PAD", [1, 2, 2], [1, 4, 2], ("int32", [[0, 0], [1, 1], [0, 0]])),
    "softmax": one("SOFTMAX", [1, 4], [1, 4], opts=options("SoftmaxOptions", beta=1.0)),
    "strided slice": one("STRIDED_SLICE", [1, 4], [1, 2], ("int32", [0, 1]), ("int32", [1, 3]), ("int32", [1, 1]), opts=options("StridedSliceOptions")),
    "slice": one("SLICE", [1, 4], [1, 2], ("int32", [0, 1]), ("int32", [1, 2])),
    "resize": one("RESIZE_BILINEAR", [1, 2, 2, 1], [1, 4, 4, 1], ("int32", [4, 4]), opts=options("ResizeBilinearOptions")),
    "pool": one("AVERAGE_POOL_2D", [1, 4, 4, 1], [1, 2, 2, 1], opts=options("Pool2DOptions", padding=1, strideH=2, strideW=2, filterHeight=2, filterWidth=2)),
    "gather of features": one("GATHER", [1, 4], [1, 2], ("int32", [3, 0]), opts=options("GatherOptions", axis=1)),
    "squeeze": one("SQUEEZE", [1, 1, 4], [1, 4], opts=options("SqueezeOptions", squeezeDims=[1])),
    "expand": one("EXPAND_DIMS", [1, 4], [1, 1, 4], ("int32", [1])),
    "transposed convolution": one(
        "TRANSPOSE_CONV", [1, 2, 2, 1], [1, 4, 4, 1], ("int32", [1, 4, 4, 1]), ("float32", np.arange(4.0).reshape(1, 2, 2, 1)),
        opts=options("TransposeConvOptions", padding=1, strideH=2, strideW=2), first=False,
    ),
    "fully connected": one("FULLY_CONNECTED", [1, 2], [1, 1], ("float32", [[2, 3]]), opts=options("FullyConnectedOptions")),
    "tile": one("TILE", [1, 2], [1, 4], ("int32", [1, 2])),
}  # fmt: skip


@pytest.mark.parametrize("case", GOOD)
def test_batch_equals_separate_runs(case: str) -> None:
    data = GOOD[case]
    graph = import_tflite(data, batch_size=3)
    (single,) = import_tflite(data).inputs
    assert graph.inputs[0].shape == (3 * single.shape[0], *single.shape[1:])
    samples = [random_inputs([single], seed)[0] for seed in range(3)]
    expected = np.concatenate([run(data, [x])[0] for x in samples])
    batched = extract(graph, graph.operators, graph.inputs, graph.outputs)
    (actual,) = run(batched, [np.concatenate(samples)])
    assert graph.outputs[0].shape == expected.shape
    np.testing.assert_array_equal(actual, expected)


BAD = {
    "softmax of a vector": (one("SOFTMAX", [4], [4], opts=options("SoftmaxOptions", beta=1.0)), "works along dimension 0"),
    "mean over samples": (one("MEAN", [2, 4], [4], ("int32", [0]), opts=options("ReducerOptions")), "works along dimension 0"),
    "transpose": (one("TRANSPOSE", [1, 4], [4, 1], ("int32", [1, 0])), "moves dimension 0"),
    "concat": (one("CONCATENATION", [1, 4], [2, 4], ("float32", [[1, 2, 3, 4]]), opts=options("ConcatenationOptions", axis=0)), "works along dimension 0"),
    "pad": (one("PAD", [1, 2], [2, 2], ("int32", [[1, 0], [0, 0]])), "pads dimension 0"),
    "spread": (one("ADD", [1, 2], [2, 2], ("float32", [[1, 2], [3, 4]]), opts=options("AddOptions")), "spreads \"x\" over dimension 0"),
    "to a scalar": (one("RESHAPE", [1], [], ("int32", np.zeros(0))), "reduces the batch to the scalar"),
    "all ones squeezed": (one("SQUEEZE", [1, 4], [4], opts=options("SqueezeOptions", squeezeDims=[])), "works along dimension 0"),
    "no rule": (one("MATRIX_DIAG", [1, 4], [1, 4, 4]), r"operator \"y\" \(MATRIX_DIAG\) is not known to keep the samples"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_mixing_samples_is_refused(case: str) -> None:
    data, message = BAD[case]
    assert import_tflite(data).operators  # fine alone
    with pytest.raises(InvalidModel, match="batch size 2 is impossible: .*" + message):
        import_tflite(data, batch_size=2)


def test_scalar_input() -> None:
    with pytest.raises(InvalidModel, match='the input "x" is a scalar'):
        import_tflite(one("RELU", [], []), batch_size=2)


def test_too_big_a_batch() -> None:
    with pytest.raises(InvalidModel, match="would have 3000000000 elements"):
        import_tflite(GOOD["unary"], batch_size=10**9)


def test_shared_constants_change_for_one_operator_only() -> None:
    """One target shape feeds a RESHAPE of an activation and one of a constant."""
    b = ModelBuilder()
    x = b.tensor("x", [1, 4], "float32")
    c = b.tensor("c", [4], "float32", [1, 2, 3, 4])
    shape = b.tensor("shape", [2], "int32", [1, 4])
    y, z, s = (b.tensor(n, [1, 4], "float32") for n in "yzs")
    b.operator("RESHAPE", [x, shape], [y])
    b.operator("RESHAPE", [c, shape], [z])
    b.operator("ADD", [y, z], [s], options("AddOptions"))
    data = b.build([x], [s])
    graph = import_tflite(data, batch_size=2)
    assert [op.inputs[1].data.tolist() for op in graph.operators[:2]] == [[2, 4], [1, 4]]
    batched = extract(graph, graph.operators, graph.inputs, graph.outputs)
    (actual,) = run(batched, [np.zeros((2, 4), np.float32)])
    assert actual.tolist() == [[1, 2, 3, 4]] * 2
