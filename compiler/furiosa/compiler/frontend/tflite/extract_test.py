"""Host clusters cut out of TFLite models give the results of the original in the reference runtime."""

from __future__ import annotations

import random

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter

from furiosa.compiler.errors import CompileError, InvalidFormat, InvalidModel
from furiosa.compiler.frontend.tflite.extract import extract
from furiosa.compiler.frontend.tflite.importer import import_tflite
from furiosa.compiler.frontend.tflite.testing import ModelBuilder, conv_model, options, random_inputs, run


def whole(data: bytes, batch_size: int = 1) -> tuple:
    graph = import_tflite(data, batch_size=batch_size)
    return graph, extract(graph, graph.operators, graph.inputs, graph.outputs)


def assert_same(data: bytes, seed: int = 0) -> None:
    graph, again = whole(data)
    inputs = random_inputs(graph.inputs, seed)
    for expected, actual in zip(run(data, inputs), run(again, inputs), strict=True):
        np.testing.assert_array_equal(expected, actual)


@pytest.fixture(scope="module")
def model() -> bytes:
    return conv_model(np.random.default_rng(0))


def test_all_operators(model: bytes) -> None:
    assert_same(model)
    assert whole(model)[1] == whole(model)[1]


def test_in_two_parts(model: bytes) -> None:
    graph = import_tflite(model)
    border = graph.operators[0].outputs[0]
    first = extract(graph, graph.operators[:1], graph.inputs, [border])
    second = extract(graph, graph.operators[1:], [border], graph.outputs)
    (x,) = random_inputs(graph.inputs, 1)
    (middle,) = run(first, [x])
    np.testing.assert_array_equal(run(second, [middle])[0], run(model, [x])[0])
    again = import_tflite(second)
    assert again.inputs[0].name == "y" and again.inputs[0].quantization.zero_point.tolist() == [-128]


def test_order_of_inputs_and_outputs_is_the_callers() -> None:
    b = ModelBuilder()
    x, y, z = (b.tensor(n, [1, 4], "float32") for n in "xyz")
    b.operator("SUB", [x, y], [z])
    graph = import_tflite(b.build([x, y], [z]))
    swapped = extract(graph, graph.operators, graph.inputs[::-1], [graph.outputs[0], graph.inputs[0]])
    a, c = np.full((1, 4), 5, np.float32), np.full((1, 4), 2, np.float32)
    difference, passed = run(swapped, [c, a])
    assert difference.tolist() == [[3.0] * 4] and passed.tolist() == [[5.0] * 4]


def test_batch(model: bytes) -> None:
    graph, twice = whole(model, 2)
    (x,) = random_inputs(graph.inputs, 3)
    expected = [run(model, [x[i : i + 1]])[0] for i in range(2)]
    np.testing.assert_array_equal(np.concatenate(expected), run(twice, [x])[0])


def count_to_ten(dtype: str = "float32") -> ModelBuilder:
    """y = x + 1 while the first element is below 10, with constants and operators in the other subgraphs."""
    b = ModelBuilder()
    main = b.graph
    x, y = b.tensor("x", [1], dtype), b.tensor("y", [1], dtype)
    b.operator("WHILE", [x], [y], options("WhileOptions", condSubgraphIndex=1, bodySubgraphIndex=2))
    cond = b.subgraph()
    a, ten, less = (
        b.tensor("a", [1], dtype),
        b.tensor("ten", [1], dtype, [10.0]),
        b.tensor("less", [1], "bool"),
    )
    b.operator("LESS", [a, ten], [less])
    cond.inputs, cond.outputs = [a], [less]
    body = b.subgraph()
    a, one, s = b.tensor("a", [1], dtype), b.tensor("one", [1], dtype, [1.0]), b.tensor("s", [1], dtype)
    b.operator("ADD", [a, one], [s], options("AddOptions"))
    body.inputs, body.outputs = [a], [s]
    b.graph = main
    return b


def test_control_flow_takes_its_subgraphs_along() -> None:
    _, again = whole(count_to_ten().build([0], [1]))
    assert run(again, [np.float32([3.5])])[0].tolist() == [10.5]


def test_only_the_subgraphs_that_are_run_are_taken_along() -> None:
    """Two IFs in a row: each has two branches, one of which runs a third subgraph."""
    b = ModelBuilder()
    condition = b.tensor("c", [1], "bool")
    x, y, z = (b.tensor(n, [4], "float32") for n in "xyz")
    b.operator("IF", [condition, x], [y], options("IfOptions", thenSubgraphIndex=5, elseSubgraphIndex=2))
    b.operator("IF", [condition, y], [z], options("IfOptions", thenSubgraphIndex=1, elseSubgraphIndex=3))
    for op_type in ("SQRT", "NEG", "ABS", "EXP"):
        graph = b.subgraph()
        graph.inputs, graph.outputs = [0], [1]
        b.operator(op_type, [b.tensor("p", [4], "float32")], [b.tensor("q", [4], "float32")])
    graph = b.subgraph()
    graph.inputs, graph.outputs = [0], [1]
    always = b.tensor("always", [1], "bool", [True])
    inner = options("IfOptions", thenSubgraphIndex=4, elseSubgraphIndex=2)
    b.operator("IF", [always, b.tensor("p", [4], "float32")], [b.tensor("q", [4], "float32")], inner)
    graph.inputs, graph.outputs = [1], [2]
    graph = import_tflite(b.build([condition, x], [z]))
    (condition, x), (z,) = graph.inputs, graph.outputs
    y = graph.operators[0].outputs[0]
    first = extract(graph, graph.operators[:1], [condition, x], [y])
    second = extract(graph, graph.operators[1:], [condition, y], [z])
    assert [schema.Model.GetRootAs(m, 0).SubgraphsLength() for m in (first, second)] == [4, 3]
    values = np.array([1, 4, 9, 16], np.float32)
    for taken, functions in ((True, (np.exp, np.sqrt)), (False, (np.negative, np.abs))):
        for part, function in zip((first, second), functions):
            np.testing.assert_allclose(run(part, [np.array([taken]), values])[0], function(values), rtol=1e-5)


def test_bad_references_of_other_subgraphs() -> None:
    b = count_to_ten()
    b.model.subgraphs[1].operators[0].opcodeIndex = 9
    with pytest.raises(InvalidModel, match="refers to operator code 9, but the model has 3"):
        whole(b.build([0], [1]))
    b = count_to_ten()
    b.model.subgraphs[2].tensors[1].buffer = 9
    with pytest.raises(InvalidModel, match="a tensor of subgraph 2 refers to buffer 9, but the model has 3"):
        whole(b.build([0], [1]))


@pytest.mark.parametrize("index", [-1, 2])
def test_bad_intermediates(index: int) -> None:
    b = ModelBuilder()
    x, y = b.tensor("x", [1, 4]), b.tensor("y", [1, 4])
    b.operator("RELU", [x], [y], intermediates=[index])
    with pytest.raises(InvalidModel, match=f"refers to tensor {index}, but the model has 2 tensors"):
        whole(b.build([x], [y]))


def test_quantisation_by_other_tensors_takes_them_along() -> None:
    """Scales of blocks are a tensor of their own, which has another number in the host's model."""
    b = ModelBuilder()
    unused = b.tensor("unused", [1], "float32", data=[1])
    x, y = b.tensor("x", [1, 32], "float32"), b.tensor("y", [1, 2], "float32")
    scales = b.tensor("scales", [2, 1], "float16", data=[0.5, 2])
    w = b.tensor("w", [2, 32], "int4", data=bytes(range(32)))
    details = schema.BlockwiseQuantizationT(scales=scales, zeroPoints=-1, blockSize=32)
    kind = schema.QuantizationDetails.BlockwiseQuantization
    b.graph.tensors[w].quantization = schema.QuantizationParametersT(detailsType=kind, details=details)
    b.operator("FULLY_CONNECTED", [x, w, -1], [y], options("FullyConnectedOptions"))
    b.graph.tensors[unused].name = "unused"
    graph, again = whole(b.build([x], [y]))
    assert graph.operators[0].inputs[1].quantization is None
    model = schema.ModelT.InitFromPackedBuf(again)
    tensors = {t.name.decode(): t for t in model.subgraphs[0].tensors}
    found = tensors["w"].quantization.details
    scale = model.subgraphs[0].tensors[found.scales]
    assert (found.zeroPoints, found.blockSize, scale.name) == (-1, 32, b"scales") and "unused" not in tensors
    assert np.frombuffer(model.buffers[scale.buffer].data, np.float16).tolist() == [0.5, 2]
    details.scales = 9
    with pytest.raises(InvalidModel, match="refers to tensor 9, but the model has 5 tensors"):
        whole(b.build([x], [y]))


def test_custom_options_in_the_operator_come_before_those_behind_the_file() -> None:
    b = ModelBuilder()
    x, y = b.tensor("x", [1, 4], "float32"), b.tensor("y", [1, 4], "float32")
    own = {"customOptions": list(b"ab"), "largeCustomOptionsOffset": 8, "largeCustomOptionsSize": 4}
    b.operator("CUSTOM:NumericVerify", [x, x], [y], **own)
    graph, again = whole(b.build([x], [y]))
    (op,) = schema.ModelT.InitFromPackedBuf(again).subgraphs[0].operators
    assert bytes(op.customOptions) == graph.operators[0].attributes["custom_options"] == b"ab"


def test_shape_beyond_32_bits() -> None:
    """A tensor of no elements may be of any length, and a batch size doubles it."""
    b = ModelBuilder()
    x, y = b.tensor("x", [1, 4]), b.tensor("y", [2**30, 0])
    axis = b.tensor("axis", [], "int32", [1])
    b.operator("CUMSUM", [x, axis], [y], options("CumsumOptions"))  # an operator whose shapes are not checked
    with pytest.raises(InvalidModel, match=r"its shape would be \[2147483648, 0\], beyond 2 GiB"):
        whole(b.build([x], [y]), 2)


def test_constants_are_aligned_to_16_bytes(model: bytes) -> None:
    again = whole(model)[1]
    assert again[4:8] == b"TFL3"
    start = np.frombuffer(again, np.uint8).ctypes.data
    buffers = schema.ModelT.InitFromObj(schema.Model.GetRootAs(again)).buffers
    assert len(buffers) == 5 and buffers[0].data is None
    assert all((b.data.ctypes.data - start) % 16 == 0 for b in buffers[1:])


@pytest.mark.parametrize("source", ["model", "control flow"])
def test_damaged_files_end_in_a_clean_error(source: str, model: bytes) -> None:
    data = model if source == "model" else count_to_ten().build([0], [1])
    r = random.Random(1)
    outcomes = set()
    for _ in range(400):
        damaged = bytearray(data)
        damaged[r.randrange(len(data))] = r.choice([0, 1, 127, 128, 255, r.randrange(256)])
        try:
            outcomes.add(type(whole(bytes(damaged))[1]))
        except CompileError as e:
            outcomes.add(type(e))
    assert outcomes == {bytes, InvalidFormat, InvalidModel}


def test_variables_and_omitted_inputs_stay() -> None:
    rng = np.random.default_rng(0)
    b = ModelBuilder()
    x = b.tensor("x", [1, 3], "float32")
    feature = b.tensor("feature", [4, 3], "float32", rng.standard_normal((4, 3)))
    time = b.tensor("time", [4, 2], "float32", rng.standard_normal((4, 2)))
    state = b.tensor("state", [1, 8], "float32", isVariable=True)
    y = b.tensor("y", [1, 4], "float32")
    b.operator("SVDF", [x, feature, time, -1, state], [y], options("SVDFOptions", rank=1))
    assert_same(b.build([x], [y]))


def test_state_cannot_leave() -> None:
    b = ModelBuilder()
    handle = b.tensor("handle", [], "resource")
    b.operator("VAR_HANDLE", [], [handle], options("VarHandleOptions", sharedName="v"))
    value = b.tensor("value", [2], "float32")
    b.operator("READ_VARIABLE", [handle], [value])
    graph = import_tflite(b.build([], [value]))
    first, *_ = graph.operators[0].bodies["function"].operators
    with pytest.raises(InvalidModel, match='"handle" is of type resource, but only dense'):
        extract(graph, [first], [], first.outputs)


def test_float_with_several_operators() -> None:
    rng = np.random.default_rng(1)
    b = ModelBuilder()
    x = b.tensor("x", [1, 6, 6, 2], "float32")
    w = b.tensor("w", [1, 3, 3, 4], "float32", rng.standard_normal((1, 3, 3, 4)))
    bias = b.tensor("bias", [4], "float32", rng.standard_normal(4))
    y = b.tensor("y", [1, 4, 4, 4], "float32")
    b.operator(
        "DEPTHWISE_CONV_2D", [x, w, bias], [y],
        options("DepthwiseConv2DOptions", padding=1, strideH=1, strideW=1, depthMultiplier=2, dilationHFactor=1, dilationWFactor=1),
    )  # fmt: skip
    axes = b.tensor("axes", [2], "int32", [1, 2])
    m = b.tensor("m", [1, 4], "float32")
    b.operator("MEAN", [y, axes], [m], options("ReducerOptions"))
    s = b.tensor("s", [1, 4], "float32")
    b.operator("SOFTMAX", [m], [s], options("SoftmaxOptions", beta=1.0))
    assert_same(b.build([x], [s]))


def test_a_name_that_is_no_utf8() -> None:
    """LiteRT's Python interface could not even list the tensors of such a model."""
    b = ModelBuilder()
    x, y = b.tensor("x", [2], "float32"), b.tensor("y", [2], "float32")
    for i, name in ((x, b"in\xec"), (y, b"\xffout")):
        b.graph.tensors[i].name = name
    b.operator("ABS", [x], [y])
    graph = import_tflite(b.build([x], [y]))
    model = extract(graph, graph.operators, graph.inputs, graph.outputs)
    interpreter = Interpreter(model_content=model)
    assert [d["name"] for d in interpreter.get_input_details()] == ["in\\xec"]
