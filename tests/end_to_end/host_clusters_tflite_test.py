"""Whatever a TFLite model holds besides NPU operators runs on the host: the whole model equals LiteRT."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from flatbuffers import flexbuffers

from furiosa.compiler.errors import InvalidModel
from furiosa.compiler.frontend.tflite.testing import ModelBuilder, options, random_inputs, run
from furiosa.compiler.pipeline import Compilation, Options
from furiosa.enf import container
from furiosa.runtime import session

SHAPE = [1, 8, 8, 4]


def check(
    data: bytes, steps: str = "", seeds: Sequence[int] = (0, 1), target: str = "warboy-2pe"
) -> Compilation:
    """Compiles and runs a model on seeded inputs, and compares every output with LiteRT, bit for bit.

    Args:
        steps: what the plan must be: "h" for a host cluster, "n" for commands on the NPU; empty for anything.
    """
    compilation = Compilation(data, Options(target)).run()
    if steps:
        assert "".join(type(step).__name__[0].lower() for step in compilation.steps) == steps
    with session.create(container.to_bytes(compilation.enf)) as sess:
        for seed in seeds:
            inputs = random_inputs(compilation.dfg.inputs, seed)
            expected = run(data, inputs)
            for a, e in zip(sess.run(inputs).numpy(), expected, strict=True):
                assert (a.dtype, a.shape) == (e.dtype, e.shape)
                np.testing.assert_array_equal(a, e)
    return compilation


def npu(b: ModelBuilder, x: int, name: str) -> int:
    """Adds a quantised 1x1 convolution of int8 [1,8,8,4], scale 0.05, to the same: work for the NPU."""
    w = b.tensor(
        f"{name}_w", [4, 1, 1, 4], data=np.random.default_rng(0).integers(-99, 99, (4, 1, 1, 4)), scale=0.02
    )
    bias = b.tensor(f"{name}_b", [4], "int32", data=np.arange(4), scale=0.001)
    y = b.tensor(name, SHAPE, scale=0.05)
    b.operator(
        "CONV_2D",
        [x, w, bias],
        [y],
        options("Conv2DOptions", strideH=1, strideW=1, dilationHFactor=1, dilationWFactor=1),
    )
    return y


def host(b: ModelBuilder, x: int, name: str) -> int:
    """Adds an operator that the NPU does not take: int8 [1,8,8,4], scale 0.05, to the same."""
    y = b.tensor(name, SHAPE, scale=0.05)
    b.operator("ABS", [x], [y])
    return y


def image(b: ModelBuilder, name: str = "x") -> int:
    return b.tensor(name, SHAPE, scale=0.05)


def branch(b: ModelBuilder, op_type: str, dtype: str = "int8") -> None:
    """A subgraph of one operator on [1,8,8,4]."""
    graph = b.subgraph()
    x, y = (b.tensor(n, SHAPE, dtype, scale=0.05 if dtype == "int8" else None) for n in "xy")
    b.operator(op_type, [x], [y])
    graph.inputs, graph.outputs = [x], [y]


# Control flow and custom operators


def test_if_between_npu_clusters() -> None:
    b = ModelBuilder()
    x, p = image(b), b.tensor("p", [1], "bool")
    a, c = npu(b, x, "a"), b.tensor("c", SHAPE, scale=0.05)
    b.operator("IF", [p, a], [c], options("IfOptions", thenSubgraphIndex=1, elseSubgraphIndex=2))
    y = npu(b, c, "y")
    branch(b, "ABS")
    branch(b, "RELU")
    check(b.build([x, p], [y]), "nhn", range(6))


def test_while() -> None:
    """Doubles x until the counter reaches 5."""
    b = ModelBuilder()
    i, x = b.tensor("i", [1], "int32"), b.tensor("x", [1, 4], "float32")
    zero = b.tensor("zero", [1], "int32", data=[0])
    start, n, y = (
        b.tensor("start", [1], "int32"),
        b.tensor("n", [1], "int32"),
        b.tensor("y", [1, 4], "float32"),
    )
    b.operator("MUL", [i, zero], [start], options("MulOptions"))
    b.operator("WHILE", [start, x], [n, y], options("WhileOptions", condSubgraphIndex=1, bodySubgraphIndex=2))
    graph = b.subgraph()
    k, v, out = b.tensor("k", [1], "int32"), b.tensor("v", [1, 4], "float32"), b.tensor("o", [1], "bool")
    b.operator("LESS", [k, b.tensor("five", [1], "int32", data=[5])], [out], options("LessOptions"))
    graph.inputs, graph.outputs = [k, v], [out]
    graph = b.subgraph()
    k, v = b.tensor("k", [1], "int32"), b.tensor("v", [1, 4], "float32")
    k2, v2 = b.tensor("k2", [1], "int32"), b.tensor("v2", [1, 4], "float32")
    b.operator("ADD", [k, b.tensor("one", [1], "int32", data=[1])], [k2], options("AddOptions"))
    b.operator("ADD", [v, v], [v2], options("AddOptions"))
    graph.inputs, graph.outputs = [k, v], [k2, v2]
    check(b.build([i, x], [n, y]), "h")


@pytest.mark.parametrize("regular", [False, True])
def test_detection_postprocess(regular: bool) -> None:
    """Boxes come from an NPU cluster; 8 * 8 anchors, 3 classes and the background."""
    detection = {
        "max_detections": 6, "max_classes_per_detection": 1, "detections_per_class": 4, "use_regular_nms": regular,
        "num_classes": 3, "nms_score_threshold": 0.3, "nms_iou_threshold": 0.5,
        "y_scale": 10.0, "x_scale": 10.0, "h_scale": 5.0, "w_scale": 5.0,
    }  # fmt: skip
    b = ModelBuilder()
    x, s = image(b), b.tensor("s", [1, 64, 4], "float32")
    boxes, flat = npu(b, x, "boxes"), b.tensor("flat", [1, 64, 4], scale=0.05)
    shape = b.tensor("shape", [3], "int32", data=[1, 64, 4])
    b.operator("RESHAPE", [boxes, shape], [flat], options("ReshapeOptions", newShape=[1, 64, 4]))
    f = b.tensor("f", [1, 64, 4], "float32")
    b.operator("DEQUANTIZE", [flat], [f])
    scores = b.tensor("scores", [1, 64, 4], "float32")
    b.operator("LOGISTIC", [s], [scores])
    anchors = b.tensor(
        "anchors", [64, 4], "float32", data=np.random.default_rng(3).uniform(0.1, 0.9, (64, 4))
    )
    outputs = [b.tensor(n, [], "float32") for n in ("boxes_out", "classes", "scores_out", "count")]
    b.operator(
        "CUSTOM:TFLite_Detection_PostProcess", [f, scores, anchors], outputs,
        customOptions=list(flexbuffers.Dumps(detection)),
    )  # fmt: skip
    compilation = check(b.build([x, s], outputs))
    assert [t.shape for t in compilation.dfg.outputs] == [(1, 6, 4), (1, 6), (1, 6), (1,)]
    assert any(v.placed_on == "npu" for v in compilation.ldfg.verdicts.values())


def test_unknown_custom_operator() -> None:
    b = ModelBuilder()
    x, y = b.tensor("x", [1, 4], "float32"), b.tensor("y", [1, 4], "float32")
    b.operator("CUSTOM:my-op", [x], [y])
    with pytest.raises(InvalidModel, match='unknown custom operator "my-op"') as caught:
        Compilation(b.build([x], [y]), Options()).run()
    assert caught.value.code == 5


# Several clusters, inputs and outputs


@pytest.mark.parametrize("target", ["warboy", "warboy-2pe"])
def test_clusters_in_a_row(target: str) -> None:
    b = ModelBuilder()
    x, k = image(b), image(b, "k")
    c = host(b, npu(b, x, "a"), "c")
    d = npu(b, c, "d")
    e, y = host(b, d, "e"), b.tensor("y", SHAPE, scale=0.05)
    b.operator("SQUARED_DIFFERENCE", [e, k], [y], options("SquaredDifferenceOptions"))
    check(b.build([x, k], [y, c, d]), "nhnh", target=target)


TYPES = (
    "int8",
    "int16",
    "int32",
    "int64",
    "uint8",
    "bool",
    "float16",
    "float64",
    "uint32",
    "uint16",
    "complex64",
)


@pytest.mark.parametrize("dtype", TYPES)
def test_types_between_clusters(dtype: str) -> None:
    """Made before an NPU cluster; the condition under which it is used comes from after that."""
    b = ModelBuilder()
    x = b.tensor("x", SHAPE, "float32")
    t, q = b.tensor("t", SHAPE, dtype), image(b, "q")
    code = getattr(schema.TensorType, dtype.upper())
    b.operator(
        "CAST", [x], [t], options("CastOptions", inDataType=schema.TensorType.FLOAT32, outDataType=code)
    )
    # read before the NPU cluster too, or it would be made where it is read after that
    back = b.tensor("back", SHAPE, "float32")
    b.operator(
        "CAST", [t], [back], options("CastOptions", inDataType=code, outDataType=schema.TensorType.FLOAT32)
    )
    b.operator("QUANTIZE", [back], [q])
    c = npu(b, host(b, q, "a"), "c")
    top = b.tensor("top", [1], scale=0.05)
    axes = b.tensor("axes", [3], "int32", data=[1, 2, 3])
    b.operator("REDUCE_MAX", [c, axes], [top], options("ReducerOptions", keepDims=False))
    p = b.tensor("p", [1], "bool")
    b.operator(
        "GREATER", [top, b.tensor("limit", [1], data=[-1], scale=0.05)], [p], options("GreaterOptions")
    )
    y = b.tensor("y", SHAPE, dtype)
    b.operator("IF", [p, t], [y], options("IfOptions", thenSubgraphIndex=1, elseSubgraphIndex=2))
    for _ in range(2):
        graph = b.subgraph()
        u, v = b.tensor("u", SHAPE, dtype), b.tensor("v", SHAPE, dtype)
        b.operator(
            "RESHAPE",
            [u, b.tensor("s", [4], "int32", data=SHAPE)],
            [v],
            options("ReshapeOptions", newShape=SHAPE),
        )
        graph.inputs, graph.outputs = [u], [v]
    compilation = check(b.build([x], [y, c]))
    assert any(t.dtype == dtype for k in compilation.cdfg if k.kind == "host" for t in k.inputs)


@pytest.mark.parametrize("dtype", TYPES)
def test_types_at_the_interface(dtype: str) -> None:
    b = ModelBuilder()
    x, y = b.tensor("x", [2, 3], dtype), b.tensor("y", [3, 2], dtype)
    shape = b.tensor("shape", [2], "int32", data=[3, 2])
    b.operator("RESHAPE", [x, shape], [y], options("ReshapeOptions", newShape=[3, 2]))
    check(b.build([x], [y, x]))


# The ends of a model


def test_optional_inputs_that_are_left_out() -> None:
    b = ModelBuilder()
    x, y = b.tensor("x", [1, 4], "float32"), b.tensor("y", [1, 3], "float32")
    w = b.tensor("w", [3, 4], "float32", data=np.arange(12).reshape(3, 4))
    b.operator("FULLY_CONNECTED", [x, w, -1], [y], options("FullyConnectedOptions"))
    check(b.build([x], [y]), "h")


def test_only_host_work() -> None:
    b = ModelBuilder()
    x, a, y = (b.tensor(n, [1, 4], "float32") for n in "xay")
    b.operator("SIN", [x], [a])
    b.operator("EXP", [a], [y])
    check(b.build([x], [y]), "h")


def test_an_input_and_a_constant_are_outputs() -> None:
    b = ModelBuilder()
    x, y = b.tensor("x", [1, 4], "float32"), b.tensor("y", [1, 4], "float32")
    k = b.tensor("k", [2, 2], "int64", data=[[1, 2], [3, 4]])
    b.operator("SIN", [x], [y])
    check(b.build([x], [x, k, y]), "h")


def test_no_operators_at_all() -> None:
    b = ModelBuilder()
    x = b.tensor("x", [1, 4], "float32")
    check(b.build([x], [x]), "")


def test_a_tensor_is_output_twice() -> None:
    b = ModelBuilder()
    x = image(b)
    a = npu(b, x, "a")
    y = host(b, a, "y")
    check(b.build([x], [y, a, y, a]), "nh")


def test_names_that_repeat_and_names_that_are_missing() -> None:
    b = ModelBuilder()
    x, a = b.tensor("n", SHAPE, scale=0.05), npu(b, 0, "n")
    y = host(b, host(b, a, "n"), "")
    check(b.build([x], [y]), "nh")


def test_unused_inputs() -> None:
    b = ModelBuilder()
    u, x, y = (b.tensor(n, [1, 4], "float32") for n in "uxy")
    b.operator("SIN", [x], [y])
    check(b.build([u, x], [y]), "h")


def test_strings_are_refused() -> None:
    b = ModelBuilder()
    x, y = b.tensor("x", [1], "string"), b.tensor("y", [1], "string")
    b.operator(
        "RESHAPE", [x, b.tensor("s", [1], "int32", data=[1])], [y], options("ReshapeOptions", newShape=[1])
    )
    with pytest.raises(InvalidModel, match='the input "x" is of type string') as caught:
        Compilation(b.build([x], [y]), Options()).run()
    assert caught.value.code == 5
