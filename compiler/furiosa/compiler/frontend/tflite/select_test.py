"""Cuts of TFLite models: what lies between the tensors that are named, and computes what it did in the whole."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter
from hypothesis import given, settings
from hypothesis import strategies as st

from furiosa.compiler.errors import CompileError, InvalidConfig, InvalidModel
from furiosa.compiler.frontend.tflite.extract import extract
from furiosa.compiler.frontend.tflite.importer import import_tflite, selected_model
from furiosa.compiler.frontend.tflite.testing import ModelBuilder, options, random_inputs, run
from furiosa.compiler.selection import Selection


def network(*, is_open: bool = False, tail: str = "CUSTOM:nobody-knows") -> ModelBuilder:
    """Two inputs, a split of which both parts are read, and an operator at the end that no runtime has."""
    b = ModelBuilder()
    more = {"shapeSignature": [-1, -1]} if is_open else {}
    rows = 1 if is_open else 4

    def tensor(name: str, dtype: str = "float32") -> int:
        return b.tensor(name, [rows, 1 if is_open else 6], dtype, **more)

    x, y, s, a, c, d, e, f = map(tensor, ["x", "y", "sum", "left", "right", "neg", "joined", "end"])
    b.operator("ADD", [x, y], [s], options("AddOptions"))
    b.operator("SPLIT", [b.tensor("axis", [], "int32", 1), s], [a, c], options("SplitOptions", numSplits=2))
    if not is_open:
        for t in (a, c, d):
            b.graph.tensors[t].shape = [4, 3]
    b.operator("NEG", [c], [d])
    b.operator("CONCATENATION", [d, a], [e], options("ConcatenationOptions", axis=1))
    b.operator(tail, [e], [f])
    b.graph.inputs, b.graph.outputs = [x, y], [f]
    return b


def built(b: ModelBuilder) -> bytes:
    return b.build(b.graph.inputs, b.graph.outputs)


def cut(data: bytes, inputs: Sequence[str] = (), outputs: Sequence[str] = (), **more: object) -> Selection:
    """Checks that both models of the part compute the same; returns what was found."""
    chosen = Selection(inputs=tuple(inputs), outputs=tuple(outputs), **more)
    graph = import_tflite(data, selection=chosen)
    values = random_inputs(graph.inputs, 1)
    as_given = selected_model(data, chosen)
    whole = extract(graph, graph.operators, graph.inputs, graph.outputs)
    for one, other, t in zip(run(whole, values), run(as_given, values), graph.outputs, strict=True):
        np.testing.assert_array_equal(one, other)
        assert one.shape == t.shape
    # the same words of what was found mean the same
    assert import_tflite(data, selection=graph.selection).selection == graph.selection
    return graph.selection


def test_outputs() -> None:
    data = built(network())
    assert cut(data, outputs=["joined"]).outputs == ("joined",)
    graph = import_tflite(data, selection=Selection(outputs=("left",)))
    assert [op.op_type for op in graph.operators] == ["ADD", "SPLIT"]
    graph = import_tflite(data, selection=Selection(outputs=("right,sum",)))
    assert [t.name for t in graph.outputs] == ["right", "sum"]


def test_inputs() -> None:
    data = built(network(tail="RELU"))
    assert cut(data, ["sum"]) == Selection({"sum": (4, 6)}, inputs=("sum",))
    assert cut(data, ["y", "x"]).inputs == ("y", "x")
    assert cut(data, ["x", "y"]) == Selection()  # as it is
    graph = import_tflite(data, selection=Selection(inputs=("neg", "left"), outputs=("end",)))
    assert [op.op_type for op in graph.operators] == ["CONCATENATION", "RELU"]
    assert [(t.name, t.shape) for t in graph.inputs] == [("neg", (4, 3)), ("left", (4, 3))]
    cut(data, ["neg", "left"])


def test_an_operator_of_which_one_result_is_an_input() -> None:
    data = built(network(tail="RELU"))
    cut(data, ["x", "y", "left"])
    graph = import_tflite(data, selection=Selection(inputs=("x", "y", "left")))
    assert [t.name for t in graph.operators[1].outputs] == ["left/cut off", "right"]
    assert graph.operators[3].inputs[1] is graph.inputs[2]


def test_what_is_cut_off_may_be_of_any_kind() -> None:
    b = network()
    b.graph.tensors[b.graph.outputs[0]].type = 99
    assert cut(built(b), outputs=["joined"])
    with pytest.raises(InvalidModel, match="unknown type 99"):
        import_tflite(built(b))


def refused(data: bytes, chosen: Selection, words: str, error: type[CompileError] = InvalidConfig) -> None:
    for function in (lambda: import_tflite(data, selection=chosen), lambda: selected_model(data, chosen)):
        with pytest.raises(error) as e:
            function()
        assert words in str(e.value)


def test_refusals() -> None:
    data = built(network(tail="RELU"))
    refused(
        data,
        Selection(outputs=("join",)),
        "--outputs: the model has no tensor 'join'; did you mean 'joined'?",
    )
    refused(data, Selection(inputs=("axis",)), "--inputs: the model has no tensor 'axis'")
    refused(
        data,
        Selection(inputs=("neg",)),
        "--inputs leaves out 'x', 'y', on which the outputs depend, too: name them",
    )
    refused(data, Selection(inputs=("x", "y", "neg"), outputs=("sum",)), "no output depends on 'neg'")
    refused(data, Selection(outputs=("sum", "sum")), "named twice")
    refused(data, Selection({"x": (4, 7)}), "contradicts the model, in which dimension 1 is 6")


def test_shapes_at_a_cut() -> None:
    """Said for the tensor itself, or following from those of the file's own inputs."""
    data = built(network(is_open=True, tail="RELU"))
    chosen = Selection({"x": (2, 8), "y": (2, 8)}, inputs=("neg", "left"))
    graph = import_tflite(data, selection=chosen)
    assert [t.shape for t in (*graph.inputs, *graph.outputs)] == [(2, 4), (2, 4), (2, 8)]
    assert graph.selection == Selection({"neg": (2, 4), "left": (2, 4)}, inputs=("neg", "left"))
    assert import_tflite(data, selection=graph.selection).selection == graph.selection
    cut(data, ["neg", "left"], input_shapes={"neg": (2, 4), "left": (2, 5)})
    refused(
        data,
        Selection({"x": (2, 8), "y": (2, 8)}, inputs=("sum",), outputs=("x",)),
        "--inputs leaves out 'x'",
    )
    refused(
        data, Selection(inputs=("sum",)), 'input "sum" has the dynamic shape [1, ?]: dimension 1 is open; add --input-shape sum=1x?,',
        InvalidModel,
    )  # fmt: skip


def signed(is_open: bool = False) -> bytes:
    """A signature whose names are other ones than those of the tensors, one of them the name of an input of it."""
    b = network(is_open=is_open, tail="RELU")
    maps = [
        [schema.TensorMapT(name=name, tensorIndex=i) for name, i in pairs]
        for pairs in ([("b", 0), ("a", 1)], [("b", 7), ("copy", 7), ("middle", 2)])
    ]
    b.graph.outputs = [7, 2]
    b.model.signatureDefs = [
        schema.SignatureDefT(signatureKey="go", subgraphIndex=0, inputs=maps[0], outputs=maps[1])
    ]
    return built(b)


def test_signature_and_cut() -> None:
    data = signed()
    found = cut(data, outputs=["left", "middle"], signature="go")
    assert found == Selection(outputs=("left", "middle"), signature="go")
    graph = import_tflite(data, selection=found)
    assert [t.name for t in graph.inputs] == ["a", "b"] and graph.output_names == ["left", "middle"]
    ours = run(extract(graph, graph.operators, graph.inputs, graph.outputs), random_inputs(graph.inputs, 0))
    a, b = random_inputs(graph.inputs, 0)
    runner = Interpreter(model_content=data).get_signature_runner("go")
    np.testing.assert_array_equal(ours[1], runner(a=a, b=b)["middle"])
    assert cut(data, outputs=["b"], signature="go").outputs == ("copy",)  # the output of this name
    assert cut(data, inputs=["middle"], outputs=["joined"], signature="go").inputs == ("middle",)
    refused(data, Selection(outputs=("lef",), signature="go"), "did you mean 'left'")


def test_signature_and_shapes() -> None:
    data = signed(is_open=True)
    graph = import_tflite(data, selection=Selection({"a": (3, 4), "b": (3, 4)}, signature="go"))
    assert [t.shape for t in graph.outputs] == [(3, 4)] * 3
    refused(data, Selection(signature="go"), "add --input-shape a=1x? --input-shape b=1x?,", InvalidModel)


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_random_cuts(data: st.DataObject) -> None:
    """What a part makes of values of the whole model is what the whole model made."""
    b = ModelBuilder()
    made = [b.tensor("x", [4], "float32"), b.tensor("y", [4], "float32")]
    count = data.draw(st.integers(1, 10))
    for n in range(count):
        a, c = (data.draw(st.sampled_from(made)) for _ in range(2))
        if data.draw(st.booleans()):
            out = b.tensor(f"t{n}", [4], "float32")
            b.operator("ADD", [a, c], [out], options("AddOptions"))
            made.append(out)
        else:  # of two results
            joined = b.tensor(f"j{n}", [8], "float32")
            b.operator("CONCATENATION", [a, c], [joined], options("ConcatenationOptions"))
            halves = [b.tensor(f"{side}{n}", [4], "float32") for side in "lr"]
            zero = b.tensor(f"axis{n}", [], "int32", 0)
            b.operator("SPLIT", [zero, joined], halves, options("SplitOptions", numSplits=2))
            made += halves
    model = b.build(made[:2], made[2:])
    names = [b.graph.tensors[t].name for t in made]
    values = [*random_inputs([import_tflite(model).inputs[0]] * 2, 0)]
    known = dict(zip(names, values + run(model, values), strict=True))
    some = [data.draw(st.lists(st.sampled_from(names[2:]), min_size=least, max_size=3)) for least in (0, 1)]
    inputs, outputs = (list(dict.fromkeys(picked)) for picked in some)
    chosen = Selection(inputs=tuple(inputs), outputs=tuple(outputs))
    try:
        graph = import_tflite(model, selection=chosen)
    except InvalidConfig as e:
        assert "leaves out" in str(e) or "no output depends" in str(e)
        return
    given_values = [known[t.name] for t in graph.inputs]
    whole = extract(graph, graph.operators, graph.inputs, graph.outputs)
    for part in (whole, selected_model(model, chosen)):
        for t, found in zip(graph.outputs, run(part, given_values), strict=True):
            np.testing.assert_array_equal(found, known[t.name])
