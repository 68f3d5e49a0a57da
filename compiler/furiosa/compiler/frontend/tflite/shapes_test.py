"""Shape rules against the shapes that the reference runtime computes."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from furiosa.compiler.errors import InvalidModel
from furiosa.compiler.frontend.tflite.importer import import_tflite
from furiosa.compiler.frontend.tflite.testing import ModelBuilder, options, run


def one(op_type: str, inputs: list, opts=None, out: list[int] | None = None) -> bytes:
    """A float model of one operator; an input is a shape (activation) or an array (constant); the output may be unstated."""
    b = ModelBuilder()
    activations, indices = [], []
    for i, value in enumerate(inputs):
        if isinstance(value, np.ndarray):
            indices.append(b.tensor(f"c{i}", list(value.shape), value.dtype.name, value))
        else:
            indices.append(b.tensor(f"x{i}", list(value), "float32"))
            activations.append(indices[-1])
    y = b.tensor("y", [] if out is None else out, "float32")
    b.operator(op_type, indices, [y], opts)
    return b.build(activations, [y])


def check(data: bytes) -> None:
    graph = import_tflite(data)
    (y,) = run(data, [np.ones(t.shape, np.float32) for t in graph.inputs])
    assert graph.outputs[0].shape == y.shape


def ones(*shape: int) -> np.ndarray:
    return np.ones(shape, np.float32)


def ints(*values) -> np.ndarray:
    return np.array(values, np.int32)


WINDOWS = list(product((0, 1), (1, 2, 3), (1, 2, 3), (5, 8)))  # padding, stride, kernel, size


@pytest.mark.parametrize(("padding", "stride", "kernel", "size"), WINDOWS)
def test_windows(padding: int, stride: int, kernel: int, size: int) -> None:
    common = {"padding": padding, "strideH": stride, "strideW": 1}
    dilated = {**common, "dilationHFactor": 1 if stride > 1 else 2, "dilationWFactor": 1}
    x = (1, size, size + 1, 4)
    check(one("CONV_2D", [x, ones(6, kernel, 2, 4), ones(6)], options("Conv2DOptions", **dilated)))
    depthwise = options("DepthwiseConv2DOptions", depthMultiplier=2, **{**common, "strideW": stride, "dilationHFactor": 1, "dilationWFactor": 1})  # fmt: skip
    check(one("DEPTHWISE_CONV_2D", [x, ones(1, kernel, 2, 8), ones(8)], depthwise))
    pool = options("Pool2DOptions", filterHeight=kernel, filterWidth=2, **common)
    check(one("MAX_POOL_2D", [x], pool))
    check(one("AVERAGE_POOL_2D", [x], pool))


OTHERS = {
    "grouped": one("CONV_2D", [(1, 4, 4, 4), ones(6, 1, 1, 2), ones(6)], options("Conv2DOptions", strideH=1, strideW=1, dilationHFactor=1, dilationWFactor=1)),
    "fully connected": one("FULLY_CONNECTED", [(2, 3, 4), ones(5, 12), ones(5)], options("FullyConnectedOptions")),
    "broadcast": one("ADD", [(3, 1, 2), (4, 1)], options("AddOptions")),
    "concat": one("CONCATENATION", [(1, 2, 3), (1, 5, 3)], options("ConcatenationOptions", axis=-2)),
    "pad": one("PAD", [(1, 2, 3), ints([0, 0], [1, 2], [3, 0])]),
    "transpose": one("TRANSPOSE", [(1, 2, 3, 4), ints(0, 3, 1, 2)]),
    "mean, kept": one("MEAN", [(1, 2, 3, 4), ints(1, -2)], options("ReducerOptions", keepDims=True)),
    "mean, gone": one("MEAN", [(1, 2, 3, 4), ints(1, 2)], options("ReducerOptions")),
    "resize": one("RESIZE_BILINEAR", [(1, 2, 3, 4), ints(5, 7)], options("ResizeBilinearOptions")),
    "transposed convolution": one("TRANSPOSE_CONV", [ints(1, 8, 7, 5), ones(5, 3, 3, 2), (1, 4, 4, 2)], options("TransposeConvOptions", strideH=2, strideW=2)),
    "softmax": one("SOFTMAX", [(1, 4)], options("SoftmaxOptions", beta=1.0)),
}  # fmt: skip


@pytest.mark.parametrize("case", OTHERS)
def test_others(case: str) -> None:
    check(OTHERS[case])


CONV = {"strideH": 1, "strideW": 1, "dilationHFactor": 1, "dilationWFactor": 1}
BAD = {
    "channels": (one("CONV_2D", [(1, 4, 4, 3), ones(2, 1, 1, 2), ones(2)], options("Conv2DOptions", **CONV)), "has 3 input channels"),
    "bias": (one("CONV_2D", [(1, 4, 4, 3), ones(2, 1, 1, 3), ones(3)], options("Conv2DOptions", **CONV)), "has 2 output channels, but a bias"),
    "stride": (one("CONV_2D", [(1, 4, 4, 3), ones(2, 1, 1, 3), ones(2)], options("Conv2DOptions", **{**CONV, "strideH": 0})), "has stride 0"),
    "window": (one("CONV_2D", [(1, 4, 4, 3), ones(2, 5, 1, 3), ones(2)], options("Conv2DOptions", padding=1, **CONV)), "larger than its input"),
    "rank": (one("CONV_2D", [(4, 4, 3), ones(2, 5, 1, 3), ones(2)], options("Conv2DOptions", **CONV)), "needs an input of 4 dimensions"),
    "stated": (one("RELU", [(1, 4)], out=[4, 1]), "is stated as"),
    "elements": (one("RESHAPE", [(1, 4), ints(1, 5)], out=[1, 5]), r"makes \[1, 5\] of \[1, 4\]"),
    "broadcast": (one("ADD", [(1, 4), (1, 5)], options("AddOptions")), "cannot broadcast"),
    "axis": (one("CONCATENATION", [(1, 4), (1, 5)], options("ConcatenationOptions", axis=2)), "works along the dimensions"),
    "join": (one("CONCATENATION", [(1, 4), (2, 5)], options("ConcatenationOptions", axis=1)), "cannot join"),
    "permutation": (one("TRANSPOSE", [(1, 4), ints(0, 0)]), "has the permutation"),
    "paddings": (one("PAD", [(1, 4), ints([0, 0], [-1, 0])]), "has the paddings"),
    "transposed, channels": (one("TRANSPOSE_CONV", [ints(1, 8, 8, 5), ones(5, 3, 3, 2), (1, 4, 4, 3)], options("TransposeConvOptions", strideH=2, strideW=2)), "has 3 input channels"),
    "transposed, shape": (one("TRANSPOSE_CONV", [ints(2, 8, 8, 5), ones(5, 3, 3, 2), (1, 4, 4, 2)], options("TransposeConvOptions", strideH=2, strideW=2)), r"makes a tensor of shape \[2, 8, 8, 5\] of 1 images"),
    "transposed, stride": (one("TRANSPOSE_CONV", [ints(1, 8, 8, 5), ones(5, 3, 3, 2), (1, 4, 4, 2)], options("TransposeConvOptions")), "has a stride below 1"),
    "weights": (one("FULLY_CONNECTED", [(1, 4), ones(2, 3), ones(2)], options("FullyConnectedOptions")), "has 4 inputs, but weights"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_contradictions(case: str) -> None:
    data, message = BAD[case]
    with pytest.raises(InvalidModel, match=message):
        import_tflite(data)


@pytest.mark.parametrize(
    ("op_type", "shape"),
    [
        ("LSTM", [2, 3]),
        ("UNIDIRECTIONAL_SEQUENCE_LSTM", [2, 5, 3]),
        ("RNN", [2, 3]),
        ("UNIDIRECTIONAL_SEQUENCE_RNN", [2, 5, 3]),
        ("SVDF", [2, 3]),
    ],
)
def test_shapes_that_files_leave_out_of_operators_with_a_state(op_type: str, shape: list[int]) -> None:
    """As LiteRT computes them: 4 units of 3 inputs each."""
    b = ModelBuilder()

    def weights(*shape: int) -> int:
        return b.tensor("w", list(shape), "float32", data=np.full(shape, 0.1))

    def state(*shape: int) -> int:
        return b.tensor("state", list(shape), "float32", isVariable=True)

    x, y = b.tensor("x", shape, "float32"), b.tensor("y", [], "float32")
    if op_type.endswith("LSTM"):
        kind = "LSTMOptions" if op_type == "LSTM" else "UnidirectionalSequenceLSTMOptions"
        inputs = [x, *(weights(4, 3) for _ in range(4)), *(weights(4, 4) for _ in range(4)), -1, -1, -1]
        inputs += [*(weights(4) for _ in range(4)), -1, -1, state(2, 4), state(2, 4)]
    elif op_type == "SVDF":
        kind, inputs = "SVDFOptions", [x, weights(8, 3), weights(8, 6), weights(4), state(2, 48)]
    else:
        kind = "RNNOptions" if op_type == "RNN" else "SequenceRNNOptions"
        inputs = [x, weights(4, 3), weights(4, 4), weights(4), state(2, 4)]
    fields = {"rank": 2} if op_type == "SVDF" else {"fusedActivationFunction": 4}
    b.operator(op_type, inputs, [y], options(kind, **fields))
    model = b.build([x], [y])
    (result,) = run(model, [np.ones(shape, np.float32)])
    assert import_tflite(model).outputs[0].shape == result.shape == (*shape[:-1], 4)
    b.graph.tensors[y].shape = [*shape[:-1], 4]  # what is stated stays
    assert import_tflite(b.build([x], [y])).outputs[0].shape == result.shape
