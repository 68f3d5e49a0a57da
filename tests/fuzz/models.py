"""Seeds of the importers: small models that hold what real ones hold."""

from __future__ import annotations

from functools import cache

import numpy as np
from generator.__main__ import build

from furiosa.compiler.frontend.onnx import testing as onnx_testing
from furiosa.compiler.frontend.tflite import testing as tflite_testing
from tests.reference import onnx_op, tflite_op

SHAPE = (1, 4, 6, 8)


@cache
def onnx_files() -> list[bytes]:
    """The tiny network in both precisions, and models of what it lacks: shape arithmetic, control flow, contrib operators."""
    ints, one = onnx_testing.tensor, onnx_testing.model
    return [
        *_onnx_operators(),
        build("tiny", "int8").SerializeToString(deterministic=True),
        build("tiny", "float32").SerializeToString(deterministic=True),
        one(
            "g (float[N, 4, 6] x) => (float[N, 24] y) { s = Shape(x)  n = Slice(s, a, b)  t = Concat<axis = 0>(n, m)"
            "  r = Reshape(x, t)  c = ConstantOfShape(t)  e = Expand(c, t)  p = Pad(e, q)  k = Tile(p, o)  y = Add(r, k) }",
            ints("a", [0], "int64"), ints("b", [1], "int64"), ints("m", [24], "int64"), ints("q", [0, 0, 0, 0], "int64"),
            ints("o", [1, 1], "int64"),
        ),
        one(
            "g (float[1, 2, 4, 4] x) => (float y) { r = Resize<mode = \"nearest\">(x, , , i)  f = Flatten(r)  n = Range(z, l, o)"
            "  h = Cast<to = 1>(n)  m = ReduceSum<keepdims = 0>(f)  w = ReduceMax<keepdims = 0>(h)  y = Add(m, w) }",
            ints("i", [1, 2, 8, 8], "int64"), ints("z", 0, "int64"), ints("l", 9, "int64"), ints("o", 1, "int64"),
        ),
        one(
            "g (float[4] x, bool c) => (float[4] y) { y = If (c) <then_branch = t () => (float[4] a) { a = Relu(x) },"
            " else_branch = e () => (float[4] b) { b = Neg(x) }> }"
        ),
        one(
            "g (float[1, 4] x) => (float[1, 4] y) { q = QuantizeLinear(x, s, z)  a = com.microsoft.QLinearAdd(q, s, z, q, s, z, s, z)"
            "  d = DequantizeLinear(a, s, z)  y = Softmax(d) }",
            ints("s", 0.05, "float32"), ints("z", 3, "uint8"), com_microsoft=1,
        ),
    ]  # fmt: skip


@cache
def tflite_files() -> list[bytes]:
    """A quantised network; shape arithmetic, resizes and moves; control flow."""
    o = tflite_testing.options
    moves = tflite_testing.ModelBuilder()
    x = moves.tensor("x", [1, 4, 4, 2], scale=0.5, zero_point=3)
    sizes = [
        moves.tensor(n, list(np.shape(v)), "int32", v)
        for n, v in (("size", [8, 8]), ("begin", [0, 1, 0, 0]), ("end", [1, 7, 8, 2]), ("step", [1, 2, 1, 1]),
                     ("pads", [[0, 0], [1, 1], [0, 0], [0, 0]]), ("times", [1, 1, 2, 1]), ("shape", [1, 5, 32]))
    ]  # fmt: skip
    shapes = [[1, 8, 8, 2], [1, 3, 8, 2], [1, 5, 8, 2], [1, 5, 16, 2], [1, 5, 32], [3]]
    made = [moves.tensor(f"t{i}", s, scale=0.5, zero_point=3) for i, s in enumerate(shapes[:-1])]
    moves.operator("RESIZE_NEAREST_NEIGHBOR", [x, sizes[0]], [made[0]], o("ResizeNearestNeighborOptions"))
    moves.operator("STRIDED_SLICE", [made[0], *sizes[1:4]], [made[1]], o("StridedSliceOptions"))
    moves.operator("PAD", [made[1], sizes[4]], [made[2]], o("PadOptions"))
    moves.operator("TILE", [made[2], sizes[5]], [made[3]])
    moves.operator("RESHAPE", [made[3], sizes[6]], [made[4]], o("ReshapeOptions", newShape=[1, 5, 32]))
    y = moves.tensor("y", [1, 5, 32], "float32")
    moves.operator("DEQUANTIZE", [made[4]], [y])
    flow = tflite_testing.ModelBuilder()
    condition, a, b = (
        flow.tensor("c", [1], "bool"),
        flow.tensor("a", [4], "float32"),
        flow.tensor("b", [4], "float32"),
    )
    flow.operator("IF", [condition, a], [b], o("IfOptions", thenSubgraphIndex=1, elseSubgraphIndex=2))
    for name in ("RELU", "NEG"):
        graph = flow.subgraph()
        graph.inputs, graph.outputs = [0], [1]
        flow.operator(name, [flow.tensor("p", [4], "float32")], [flow.tensor("q", [4], "float32")])
    return [
        *_tflite_operators(),
        tflite_testing.conv_model(np.random.default_rng(0)),
        moves.build([x], [y]),
        flow.build([condition, a], [b]),
    ]


def _onnx_operators() -> list[bytes]:
    """One quantised operator each, of those that the NPU takes."""
    x = onnx_op.Operand(SHAPE, "uint8", 0.5, 7)
    weights = onnx_op.Operand((4, 4, 3, 3), "int8", 0.25, 0, np.ones((4, 4, 3, 3), np.int8))

    def ints(*values: int) -> onnx_op.Operand:
        return onnx_op.Operand((len(values),), data=np.array(values, np.int64))

    def reals(*values: float) -> onnx_op.Operand:
        return onnx_op.Operand((len(values),), data=np.array(values, np.float32))

    def of(shape: tuple[int, ...]) -> onnx_op.Operand:
        return onnx_op.Operand(shape, "uint8", 0.5, 7)

    nothing = onnx_op.Operand((0,), data=np.zeros(0, np.float32))
    resize = {"mode": "linear", "coordinate_transformation_mode": "half_pixel"}
    square = onnx_op.Operand((8, 8), "uint8", 0.5, 7, np.ones((8, 8), np.uint8))
    return [
        onnx_op.build_qdq("Conv", [x, weights], of((1, 4, 4, 6))),
        onnx_op.build_qdq("ConvTranspose", [x, weights], of((1, 4, 13, 17)), strides=[2, 2]),
        onnx_op.build_qdq("AveragePool", [x], of((1, 4, 5, 7)), kernel_shape=[2, 2]),
        onnx_op.build_qdq("Slice", [x, ints(1, 0), ints(4, 6), ints(1, 2), ints(1, 2)], of((1, 3, 3, 8))),
        onnx_op.build_qdq("Expand", [x, ints(2, 4, 6, 8)], of((2, 4, 6, 8))),
        onnx_op.build_qdq("Tile", [x, ints(1, 2, 1, 1)], of((1, 8, 6, 8))),
        onnx_op.build_qdq("Pad", [x, ints(0, 0, 1, 1, 0, 0, 2, 0)], of((1, 4, 9, 9))),
        onnx_op.build_qdq("DepthToSpace", [x], of((1, 1, 12, 16)), blocksize=2),
        onnx_op.build_qdq("Resize", [x, nothing, reals(1, 1, 2, 2)], of((1, 4, 12, 16)), **resize),
        onnx_op.build_qdq("ReduceMean", [x], of((1, 4, 1, 1)), axes=[2, 3]),
        onnx_op.build_qdq("Concat", [x, x], of((1, 8, 6, 8)), axis=1),
        onnx_op.build_qdq("Transpose", [x], of((1, 8, 4, 6)), perm=[0, 3, 1, 2]),
        onnx_op.build_qdq("MatMul", [x, square], of(SHAPE)),
        onnx_op.build_qdq([("Add", {}), ("Relu", {})], [x, x], of(SHAPE)),
        onnx_op.build_qdq("Sigmoid", [x], of(SHAPE)),
        onnx_op.build_qdq("Softmax", [x], of(SHAPE), axis=-1),
        onnx_op.build_qoperator("QLinearConv", [x, weights], of((1, 4, 4, 6)), np.zeros(4, np.int32)),
        onnx_op.build_qoperator("QLinearConcat", [x, x], of((1, 8, 6, 8)), domain="com.microsoft", axis=1),
    ]


def _tflite_operators() -> list[bytes]:
    """One quantised operator each, of those that the NPU takes."""
    x = tflite_op.Operand(SHAPE, "int8", 0.5, 7)
    o = tflite_op.options

    def of(*shape: int) -> tflite_op.Operand:
        return tflite_op.Operand(shape, "int8", 0.5, 7)

    def ints(*values: object) -> tflite_op.Operand:
        data = np.array(values, np.int32)
        return tflite_op.Operand(data.shape, "int32", data=data)

    def weights(*shape: int) -> tflite_op.Operand:
        return tflite_op.Operand(shape, "int8", 0.25, 0, np.ones(shape, np.int8))

    axis = tflite_op.Operand((), "int32", data=np.array(3, np.int32))
    conv = {"strideH": 1, "strideW": 1, "dilationHFactor": 1, "dilationWFactor": 1, "padding": 1}
    pool = {"strideH": 2, "strideW": 2, "filterHeight": 2, "filterWidth": 2}
    pads = ints([0, 0], [1, 1], [0, 2], [0, 0])
    bounds = [ints(0, 1, 0, 0), ints(1, 4, 6, 8), ints(1, 2, 1, 1)]
    depthwise = o("DepthwiseConv2DOptions", depthMultiplier=1, **conv)
    half = (of(1, 2, 3, 8), o("Pool2DOptions", **pool))
    cases = [
        ("CONV_2D", [x, weights(4, 3, 3, 8), None], of(1, 2, 4, 4), o("Conv2DOptions", **conv)),
        ("DEPTHWISE_CONV_2D", [x, weights(1, 3, 3, 8), None], of(1, 2, 4, 8), depthwise),
        ("TRANSPOSE_CONV", [ints(1, 4, 6, 4), weights(4, 3, 3, 8), x], of(1, 4, 6, 4), o("TransposeConvOptions", strideH=1, strideW=1)),
        ("FULLY_CONNECTED", [x, weights(5, 8), None], of(24, 5), o("FullyConnectedOptions")),
        ("AVERAGE_POOL_2D", [x], *half),
        ("MAX_POOL_2D", [x], *half),
        ("MEAN", [x, ints(1, 2)], of(1, 8), o("ReducerOptions")),
        ("PAD", [x, pads], of(1, 6, 8, 8), o("PadOptions")),
        ("MIRROR_PAD", [x, ints([0, 0], [1, 1], [0, 2], [0, 0])], of(1, 6, 8, 8), o("MirrorPadOptions")),
        ("CONCATENATION", [x, x], of(1, 4, 6, 16), o("ConcatenationOptions", axis=3)),
        ("PACK", [x, x], of(1, 2, 4, 6, 8), o("PackOptions", axis=1, valuesCount=2)),
        ("TRANSPOSE", [x, ints(0, 3, 1, 2)], of(1, 8, 4, 6), o("TransposeOptions")),
        ("STRIDED_SLICE", [x, *bounds], of(1, 2, 6, 8), o("StridedSliceOptions")),
        ("SLICE", [x, ints(0, 1, 0, 0), ints(1, 2, -1, 8)], of(1, 2, 6, 8), o("SliceOptions")),
        ("SPLIT", [axis, x], of(1, 4, 6, 8), o("SplitOptions", numSplits=1)),
        ("BROADCAST_TO", [x, ints(2, 4, 6, 8)], of(2, 4, 6, 8), None),
        ("DEPTH_TO_SPACE", [x], of(1, 8, 12, 2), o("DepthToSpaceOptions", blockSize=2)),
        ("SPACE_TO_BATCH_ND", [x, ints(2, 2), ints([0, 0], [0, 0])], of(4, 2, 3, 8), o("SpaceToBatchNDOptions")),
        ("RESIZE_BILINEAR", [x, ints(8, 12)], of(1, 8, 12, 8), o("ResizeBilinearOptions")),
        ("SUB", [x, of(1, 1, 1, 8)], of(*SHAPE), o("SubOptions")),
        ("MUL", [x, x], of(*SHAPE), o("MulOptions")),
        ("SOFTMAX", [x], tflite_op.Operand(SHAPE, "int8", 1 / 256, -128), o("SoftmaxOptions", beta=1.0)),
        ("TANH", [x], tflite_op.Operand(SHAPE, "int8", 1 / 128, 0), None),
    ]  # fmt: skip
    return [tflite_op.build(name, inputs, output, option, 2) for name, inputs, output, option in cases]
