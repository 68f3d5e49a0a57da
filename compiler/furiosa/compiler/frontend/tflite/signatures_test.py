"""Signatures: which one is compiled, and that it computes what LiteRT's signature runner does."""

from __future__ import annotations

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter

from furiosa.compiler.errors import CompileError, InvalidConfig, InvalidModel
from furiosa.compiler.frontend.importer import import_model
from furiosa.compiler.frontend.onnx.testing import model as onnx_model
from furiosa.compiler.frontend.tflite.extract import extract
from furiosa.compiler.frontend.tflite.importer import import_tflite
from furiosa.compiler.frontend.tflite.testing import ModelBuilder, options, run
from furiosa.compiler.selection import Selection

Names = dict[str, int]


def _signature(b: ModelBuilder, key: str | None, subgraph: int, inputs: Names, outputs: Names) -> None:
    def maps(names: Names) -> list[schema.TensorMapT]:
        return [schema.TensorMapT(name=n, tensorIndex=i) for n, i in names.items()]

    b.model.signatureDefs = [
        *(b.model.signatureDefs or ()),
        schema.SignatureDefT(
            signatureKey=key, subgraphIndex=subgraph, inputs=maps(inputs), outputs=maps(outputs)
        ),
    ]


def _binary(b: ModelBuilder, op_type: str) -> list[int]:
    """z = x op y and w = y op x of float32 [1, 3], in the last subgraph; returns x, y, z, w."""
    x, y, z, w = (b.tensor(n, [1, 3], "float32") for n in "xyzw")
    b.operator(op_type, [x, y], [z])
    b.operator(op_type, [y, x], [w])
    b.graph.inputs, b.graph.outputs = [x, y], [z, w]
    return [x, y, z, w]


def _three() -> bytes:
    """Signatures "sub" and "div" with names in no order, and "whole" with one tensor under two names."""
    b = ModelBuilder()
    x, y, z, w = _binary(b, "SUB")
    _signature(b, "sub", 0, {"y": y, "b": x}, {"second": w, "first": z})
    b.subgraph()
    x, y, z, w = _binary(b, "DIV")
    _signature(b, "div", 1, {"x": y, "y": x}, {"x": z})
    _signature(b, "whole", 1, {"x": x, "y": y}, {"p": z, "q": w, "again": z})
    return b.build([0, 1], [2, 3])


@pytest.mark.parametrize(
    ("name", "inputs", "outputs"),
    [
        ("sub", ["b", "y"], ["first", "second"]),
        ("div", ["x", "y"], ["x"]),
        ("whole", ["x", "y"], ["again", "p", "q"]),
    ],
)
def test_a_signature_computes_what_its_runner_does(name: str, inputs: list[str], outputs: list[str]) -> None:
    model = _three()
    graph = import_tflite(model, selection=Selection(signature=name))
    assert [t.name for t in graph.inputs] == inputs and graph.output_names == outputs
    assert len({t.name for op in graph.operators for t in op.outputs}) == len(graph.operators)
    values = {n: np.float32([[i + 2, 8, 3 + i]]) for i, n in enumerate(inputs)}
    runner = Interpreter(model_content=model).get_signature_runner(name)
    expected = runner(**values)
    assert list(runner.get_input_details()) == inputs and sorted(expected) == outputs
    results = run(extract(graph, graph.operators, graph.inputs, graph.outputs), [values[n] for n in inputs])
    for n, result in zip(outputs, results, strict=True):
        np.testing.assert_array_equal(result, expected[n])


def _refused(data: bytes, name: str, match: str, error: type[CompileError] = InvalidConfig) -> None:
    with pytest.raises(error, match=match):
        import_tflite(data, selection=Selection(signature=name))


def test_what_is_not_said_is_asked_for() -> None:
    _refused(
        _three(),
        "",
        "the model has 3 signatures, 'sub', 'div', 'whole': name the one to compile, --signature",
    )
    _refused(_three(), "su", "--signature: the model has no signature 'su'; did you mean 'sub'?")
    b = ModelBuilder()
    x, y, z, w = _binary(b, "SUB")
    _refused(b.build([x, y], [z]), "sub", "--signature 'sub': the model has no signatures")
    _signature(b, "sub", 0, {"a": x, "b": y}, {"z": z})
    graph = import_tflite(b.build([x, y], [z, w]))  # the only one may be left out, and then its names are
    assert [t.name for t in graph.inputs] == ["x", "y"] and len(graph.outputs) == 2
    b.model.signatureDefs[0].subgraphIndex = 1
    b.subgraph()
    _binary(b, "DIV")
    _refused(b.build([x, y], [z]), "", "the model's signature 'sub' is not of its first subgraph: name it")
    with pytest.raises(InvalidConfig, match="only TFLite models have signatures"):
        data = onnx_model("g (float[1] x) => (float[1] y) { y = Relu(x) }")
        import_model(data, selection=Selection(signature="serving_default"))


def test_bad_signatures() -> None:
    def one(inputs: Names, outputs: Names, subgraph: int = 0) -> bytes:
        b = ModelBuilder()
        x, y, z, _ = _binary(b, "SUB")
        _signature(b, "s", subgraph, inputs, outputs)
        return b.build([x, y], [z])

    _refused(
        one({"x": 0, "y": 1}, {"z": 2}, 7), "s", "refers to subgraph 7, but the model has 1", InvalidModel
    )
    _refused(
        one({"x": 0, "y": 9}, {"z": 2}),
        "s",
        r"the input 'y' of .* no input of its subgraph \(tensor 9\)",
        InvalidModel,
    )
    _refused(
        one({"x": 0, "y": 1}, {"z": 3}), "s", r"the output 'z' of .* no output of its subgraph", InvalidModel
    )
    for inputs in ({"x": 0}, {"x": 0, "y": 1, "again": 1}):
        _refused(
            one(inputs, {"z": 2}), "s", "does not give each input of its subgraph one name", InvalidModel
        )
    graph = import_tflite(one({"x": 0, "y": 1}, {"z": 2}), selection=Selection(signature="s"))
    assert [t.name for t in graph.outputs] == ["z"]


def test_an_input_that_is_an_output() -> None:
    b = ModelBuilder()
    x, y = b.tensor("x", [1, 3], "float32"), b.tensor("y", [1, 3], "float32")
    b.operator("ABS", [x], [y])
    b.graph.inputs, b.graph.outputs = [x], [x, y]
    _signature(b, "s", 0, {"given": x}, {"same": x, "abs": y})
    graph = import_tflite(b.build([x], [x, y]), selection=Selection(signature="s"))
    assert [t.name for t in graph.inputs] == ["given"] and graph.output_names == ["abs", "same"]


def test_control_flow_of_a_signature_may_run_the_first_subgraph() -> None:
    """Its number is another in the model of a host cluster, where the signature's own subgraph is the first."""
    b = ModelBuilder()
    for op_type in ("ABS", "NEG"):
        u, v = b.tensor("u", [2], "float32"), b.tensor("v", [2], "float32")
        b.operator(op_type, [u], [v])
        b.graph.inputs, b.graph.outputs = [u], [v]
        b.subgraph()
    p, x, y = b.tensor("p", [1], "bool"), b.tensor("x", [2], "float32"), b.tensor("y", [2], "float32")
    b.operator("IF", [p, x], [y], options("IfOptions", thenSubgraphIndex=0, elseSubgraphIndex=1))
    b.graph.inputs, b.graph.outputs = [p, x], [y]
    _signature(b, "choose", 2, {"p": p, "x": x}, {"y": y})
    model = b.build([0], [1])
    graph = import_tflite(model, selection=Selection(signature="choose"))
    host = extract(graph, graph.operators, graph.inputs, graph.outputs)
    for flag in (True, False):
        given = {"p": np.array([flag]), "x": np.float32([3, -4])}
        expected = Interpreter(model_content=model).get_signature_runner("choose")(**given)["y"]
        np.testing.assert_array_equal(run(host, [given["p"], given["x"]])[0], expected)
        assert expected.tolist() == ([3, 4] if flag else [-3, 4])
