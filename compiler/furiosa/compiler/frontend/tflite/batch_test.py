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


def chain(shape: list[int], *steps: tuple) -> bytes:
    """Operators one after the other on x: (op_type, inputs, outputs, options). Inputs are names, or (dtype, constant);
    outputs are (name, shape) or (name, shape, dtype). The last output is the model's."""
    b = ModelBuilder()
    known = {"x": b.tensor("x", shape, "float32")}
    last = "x"
    for i, (op_type, inputs, outputs, opts) in enumerate(steps):
        indices = [
            known[t] if isinstance(t, str) else b.tensor(f"c{i}{k}", list(np.shape(t[1])), *t)
            for k, t in enumerate(inputs)
        ]
        for last, out, *dtype in outputs:
            known[last] = b.tensor(last, out, *dtype or ["float32"])
        b.operator(op_type, indices, [known[o[0]] for o in outputs], opts)
    return b.build([known["x"]], [known[last]])


def ints(*values: object) -> tuple:
    return "int32", list(values)


ATTENTION = [
    ("RESHAPE", ["x", ints(1, 5, 3, 4)], [("r", [1, 5, 3, 4])], options("ReshapeOptions")),
    ("TRANSPOSE", ["r", ints(2, 0, 1, 3)], [("t", [3, 1, 5, 4])], None),
    ("UNPACK", ["t"], [(n, [1, 5, 4]) for n in "qkv"], options("UnpackOptions", num=3, axis=0)),
    ("BATCH_MATMUL", ["q", "k"], [("s", [1, 5, 5])], options("BatchMatMulOptions", adjY=True)),
    ("SOFTMAX", ["s"], [("p", [1, 5, 5])], options("SoftmaxOptions", beta=1.0)),
    ("BATCH_MATMUL", ["p", "v"], [("y", [1, 5, 4])], options("BatchMatMulOptions")),
]
WINDOWS = [
    ("RESHAPE", ["x", ints(1, 2, 2, 2, 6)], [("r", [1, 2, 2, 2, 6])], options("ReshapeOptions")),
    ("TRANSPOSE", ["r", ints(0, 1, 3, 2, 4)], [("t", [1, 2, 2, 2, 6])], None),
    ("RESHAPE", ["t", ints(4, 2, 6)], [("w", [4, 2, 6])], options("ReshapeOptions", newShape=[4, 2, 6])),
    ("SOFTMAX", ["w"], [("m", [4, 2, 6])], options("SoftmaxOptions", beta=1.0)),
    ("RESHAPE", ["m", ints(1, 4, 12)], [("y", [1, 4, 12])], options("ReshapeOptions")),
]
INDICES = ("CAST", ["x"], [("i", [1, 2], "int32")], options("CastOptions", inDataType=0, outDataType=2))
LOW = ("MINIMUM", ["i", ("int32", [1])], [("j", [1, 2], "int32")], None)
HIGH = ("MAXIMUM", ["j", ("int32", [0])], [("k", [1, 2], "int32")], None)
GOOD = {
    "attention": chain([1, 5, 12], *ATTENTION),
    "windows": chain([1, 4, 12], *WINDOWS),
    "there and back": chain(
        [1, 2, 3], ("TRANSPOSE", ["x", ints(1, 0, 2)], [("t", [2, 1, 3])], None),
        ("ADD", ["t", ("float32", [[[1, 2, 3]], [[4, 5, 6]]])], [("s", [2, 1, 3])], options("AddOptions")),
        ("TRANSPOSE", ["s", ints(1, 0, 2)], [("y", [1, 2, 3])], None),
    ),
    "a vector": chain(
        [1, 4], ("RESHAPE", ["x", ints(4)], [("t", [4])], options("ReshapeOptions")),
        ("ADD", [("float32", [[1, 2, 3, 4]]), "t"], [("s", [1, 4])], options("AddOptions")),
        ("RESHAPE", ["s", ints(1, 2, 2)], [("y", [1, 2, 2])], options("ReshapeOptions")),
    ),
    "reshape by option only": one("RESHAPE", [1, 4], [1, 2, 2], opts=options("ReshapeOptions", newShape=[1, 2, 2])),
    "stack": chain([1, 3], ("PACK", ["x", ("float32", [[7, 8, 9]])], [("y", [1, 2, 3])], options("PackOptions", valuesCount=2, axis=1))),
    "stack in front": chain(
        [1, 3], ("PACK", ["x", "x"], [("t", [2, 1, 3])], options("PackOptions", valuesCount=2, axis=0)),
        ("SUM", ["t", ints(0)], [("y", [1, 3])], options("ReducerOptions")),
    ),
    "split": chain([1, 4], ("SPLIT", [("int32", 1), "x"], [("a", [1, 2]), ("y", [1, 2])], options("SplitOptions", numSplits=2))),
    "split at places": chain([1, 4], ("SPLIT_V", ["x", ints(1, 3), ("int32", 1)], [("a", [1, 1]), ("y", [1, 3])], options("SplitVOptions", numSplits=2))),
    "broadcast": one("BROADCAST_TO", [1, 1, 3], [1, 2, 3], ("int32", [1, 2, 3])),
    "broadcast to more dimensions": chain(
        [1, 3], ("BROADCAST_TO", ["x", ints(2, 1, 3)], [("t", [2, 1, 3])], None),
        ("TRANSPOSE", ["t", ints(1, 0, 2)], [("y", [1, 2, 3])], None),
    ),
    "strided slice of the whole batch": one("STRIDED_SLICE", [2, 4], [2, 2], ("int32", [0, 1]), ("int32", [2, 3]), ("int32", [1, 1]), opts=options("StridedSliceOptions")),
    "strided slice by masks": one("STRIDED_SLICE", [1, 4], [1, 4], ("int32", [0, 0]), ("int32", [0, 0]), ("int32", [1, 1]), opts=options("StridedSliceOptions", beginMask=3, endMask=3)),
    "strided slice that drops a dimension": one("STRIDED_SLICE", [1, 4, 2], [1, 2], ("int32", [0, 1, 0]), ("int32", [1, 2, 2]), ("int32", [1, 1, 1]), opts=options("StridedSliceOptions", shrinkAxisMask=2)),
    "strided slice of fewer dimensions": one("STRIDED_SLICE", [1, 4, 2], [1, 4, 2], ("int32", [0]), ("int32", [1]), ("int32", [1]), opts=options("StridedSliceOptions")),
    "slice to the end": one("SLICE", [1, 4], [1, 2], ("int32", [0, 2]), ("int32", [-1, -1])),
    "gather n-dimensional": chain(
        [1, 3, 4], ("TRANSPOSE", ["x", ints(1, 2, 0)], [("t", [3, 4, 1])], None),
        ("GATHER_ND", ["t", ("int32", [[0, 1], [2, 3]])], [("g", [2, 1])], None),
        ("TRANSPOSE", ["g", ints(1, 0)], [("y", [1, 2])], None),
    ),
    "gather from a constant": chain([1, 2], INDICES, LOW, HIGH, ("GATHER", [("float32", [[1, 2, 3], [4, 5, 6]]), "k"], [("y", [1, 2, 3])], options("GatherOptions", axis=0))),
    "gather n-dimensional from a constant": chain([1, 2], INDICES, LOW, HIGH, ("GATHER_ND", [("float32", [[1, 2], [4, 5]]), "k"], [("y", [1])], None)),
    "fully connected from 4 dimensions": one("FULLY_CONNECTED", [1, 2, 2, 1], [1, 3], ("float32", np.arange(12.0).reshape(3, 4)), opts=options("FullyConnectedOptions")),
    "fully connected along rows": one("FULLY_CONNECTED", [1, 5, 2], [1, 5, 3], ("float32", np.arange(6.0).reshape(3, 2)), opts=options("FullyConnectedOptions", keepNumDims=True)),
    "pad with a value": one("PADV2", [1, 2], [1, 4], ("int32", [[0, 0], [1, 1]]), ("float32", 5.0)),
    "mirror pad": one("MIRROR_PAD", [1, 3], [1, 5], ("int32", [[0, 0], [1, 1]]), opts=options("MirrorPadOptions")),
    "select": chain([1, 2], ("GREATER", ["x", ("float32", [[0, 0]])], [("g", [1, 2], "bool")], None), ("SELECT", ["g", "x", "x"], [("y", [1, 2])], None)),
    "select from a constant": chain([1, 2], ("GREATER", ["x", ("float32", 0)], [("g", [1, 2], "bool")], None), ("SELECT_V2", ["g", "x", ("float32", [[5, 6]])], [("y", [1, 2])], None)),
    "greatest index": chain([1, 4], ("ARG_MAX", ["x", ("int32", 1)], [("i", [1], "int32")], options("ArgMaxOptions", outputType=2)), ("CAST", ["i"], [("y", [1])], options("CastOptions", inDataType=2, outDataType=0))),
    "normalisation": one("L2_NORMALIZATION", [1, 4], [1, 4], opts=options("L2NormOptions")),
    "depth to space": one("DEPTH_TO_SPACE", [1, 1, 1, 4], [1, 2, 2, 1], opts=options("DepthToSpaceOptions", blockSize=2)),
    "nearest neighbour": one("RESIZE_NEAREST_NEIGHBOR", [1, 2, 2, 1], [1, 4, 4, 1], ("int32", [4, 4]), opts=options("ResizeNearestNeighborOptions")),
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
    "transpose": (one("TRANSPOSE", [1, 4], [4, 1], ("int32", [1, 0])), "the output has the samples along dimension 1"),
    "concat": (one("CONCATENATION", [1, 4], [2, 4], ("float32", [[1, 2, 3, 4]]), opts=options("ConcatenationOptions", axis=0)), "works along dimension 0"),
    "pad": (one("PAD", [1, 2], [2, 2], ("int32", [[1, 0], [0, 0]])), "pads dimension 0"),
    "spread": (one("ADD", [1, 2], [2, 2], ("float32", [[1, 2], [3, 4]]), opts=options("AddOptions")), "spreads \"x\" over dimension 0"),
    "to a scalar": (one("RESHAPE", [1], [], ("int32", np.zeros(0))), "leaves no dimension"),
    "all ones squeezed": (one("SQUEEZE", [1, 4], [4], opts=options("SqueezeOptions", squeezeDims=[])), "works along dimension 0"),
    "weights": (one("FULLY_CONNECTED", [4], [1, 1], ("float32", [[1, 2, 3, 4]]), opts=options("FullyConnectedOptions")), "sums over dimension 0"),
    "slice": (one("STRIDED_SLICE", [1, 2], [2], ("int32", [0, 0]), ("int32", [1, 2]), ("int32", [1, 1]), opts=options("StridedSliceOptions", shrinkAxisMask=1)), "takes dimension 0, which has the samples, out"),
    "coordinates": (one("GATHER_ND", [1, 2], [1, 2], ("int32", [[0]])), "works along dimension 0"),
    "no rule": (one("MATRIX_DIAG", [1, 4], [1, 4, 4]), r"operator \"y\" \(MATRIX_DIAG\) is not known to keep the samples"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_mixing_samples_is_refused(case: str) -> None:
    data, message = BAD[case]
    assert import_tflite(data).operators  # fine alone
    with pytest.raises(
        InvalidModel,
        match="batch size 2 is impossible for the tensor .*" + message + ".*; use batch size 1 or ",
    ):
        import_tflite(data, batch_size=2)


def test_scalar_input() -> None:
    with pytest.raises(InvalidModel, match='tensor "x": the input is a scalar'):
        import_tflite(one("RELU", [], []), batch_size=2)


def test_too_big_a_batch() -> None:
    with pytest.raises(InvalidModel, match=r"its shape would be \[1000000000, 3\], beyond 2 GiB"):
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


def test_a_batch_of_windows_names_its_tensor() -> None:
    """The samples lie behind the windows: a shape cannot say that."""
    data = chain(
        [1, 2, 3],
        ("TRANSPOSE", ["x", ints(1, 0, 2)], [("t", [2, 1, 3])], None),
        ("RESHAPE", ["t", ints(6)], [("flat", [6])], options("ReshapeOptions")),
        ("RESHAPE", ["flat", ints(1, 6)], [("y", [1, 6])], options("ReshapeOptions")),
    )
    sentence = 'for the tensor "y": the output has the samples along dimension 1, among other elements'
    with pytest.raises(InvalidModel, match=sentence):
        import_tflite(data, batch_size=2)
