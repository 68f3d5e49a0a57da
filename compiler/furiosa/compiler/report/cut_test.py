"""Parts of a model: what they read, what they make, and that onnxruntime makes of them what it makes of the whole."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from furiosa.compiler.frontend.importer import import_model
from furiosa.compiler.report.cut import Cuttable, Part


def _model() -> bytes:
    """x -> q -> r -> (Neg -> p), (Abs -> a); a subgraph reads p, too."""
    float_type = TensorProto.FLOAT
    branch = helper.make_graph(
        [helper.make_node("Add", ["p", "a"], ["sum"])],
        "then",
        [],
        [helper.make_tensor_value_info("sum", float_type, None)],
    )
    other = helper.make_graph(
        [helper.make_node("Identity", ["a"], ["same"])],
        "else",
        [],
        [helper.make_tensor_value_info("same", float_type, None)],
    )
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["r"]),
        helper.make_node("Neg", ["r"], ["p"]),
        helper.make_node("Abs", ["r"], ["a"]),
        helper.make_node("If", ["c"], ["y"], then_branch=branch, else_branch=other),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [
            helper.make_tensor_value_info("x", float_type, [4]),
            helper.make_tensor_value_info("c", TensorProto.BOOL, []),
        ],
        [helper.make_tensor_value_info("y", float_type, [4])],
        [numpy_helper.from_array(np.float32(0.5), "s"), numpy_helper.from_array(np.int8(1), "z")],
    )
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8
    ).SerializeToString()


def _run(part: Part, **values: np.ndarray) -> list[np.ndarray]:
    session = onnxruntime.InferenceSession(part.model, providers=["CPUExecutionProvider"])
    names = [i.name for i in session.get_inputs()]
    assert len(names) == len(part.inputs) and len(session.get_outputs()) == len(part.outputs)
    return session.run(None, {n: values[key] for n, key in zip(names, part.inputs, strict=True)})


X = np.array([-1.3, 0.2, 0.9, 2.0], np.float32)
Q = np.array([10, -20, 30, 1], np.int8)


def test_what_reads_a_border_reads_an_input_of_the_part() -> None:
    model = Cuttable(import_model(_model()))
    part = model.part(["q", "p"], ["q"])
    assert part.inputs == ("x", "q") and part.outputs == ("q", "p")
    q, p = _run(part, x=X, q=Q)
    assert q.tolist() == [-2, 1, 3, 5]  # of x
    assert p.tolist() == [-4.5, 10.5, -14.5, 0.0]  # of what was given for q


def test_equal_quantize_linear_stand_for_one_another() -> None:
    model = onnx.ModelProto.FromString(_model())
    nodes = model.graph.node
    nodes.insert(1, helper.make_node("QuantizeLinear", ["x", "s", "z"], ["again"]))
    nodes.insert(2, helper.make_node("DequantizeLinear", ["again", "s", "z"], ["r2"]))
    (neg,) = (n for n in nodes if n.op_type == "Neg")
    neg.input[0] = "r2"
    part = Cuttable(import_model(model.SerializeToString())).part(["q", "p", "a"], ["q"])
    assert part.inputs == ("x", "q")
    q, p, a = _run(part, x=X, q=Q)
    assert (
        q.tolist() == [-2, 1, 3, 5]
        and p.tolist() == [-4.5, 10.5, -14.5, 0.0]
        and a.tolist() == [4.5, 10.5, 14.5, 0.0]
    )


def test_a_wanted_tensor_that_is_no_border_is_a_copy() -> None:
    model = Cuttable(import_model(_model()))
    part = model.part(["r", "p"], ["q"])
    r, p = _run(part, q=Q)
    assert part.inputs == ("q",) and (r == -p).all()
    assert part.model.count(b"DequantizeLinear") == 2
    assert model.part(["r"], ["q"]).model.count(b"DequantizeLinear") == 1


def test_borders_that_subgraphs_read() -> None:
    part = Cuttable(import_model(_model())).part(["p", "y"], ["q", "p"])
    assert sorted(part.inputs) == ["c", "p", "q"]
    p, y = _run(part, q=Q, p=np.full(4, 100, np.float32), c=np.array(True))
    assert p.tolist() == [-4.5, 10.5, -14.5, 0.0]
    assert y.tolist() == [104.5, 110.5, 114.5, 100.0]


def test_the_whole() -> None:
    part = Cuttable(import_model(_model())).whole()
    assert part.inputs == ("x", "c") and part.outputs == ("y",)
    session = onnxruntime.InferenceSession(_model(), providers=["CPUExecutionProvider"])
    for c in (True, False):
        feed = {"x": X, "c": np.array(c)}
        np.testing.assert_array_equal(_run(part, **feed)[0], session.run(None, feed)[0])


def test_groups_and_shapes() -> None:
    model = Cuttable(import_model(_model()))
    assert list(model.groups(["q", "r", "p"], ["q"], 1 << 20)) == [["q", "r", "p"]]
    assert list(model.groups(["q", "r", "p"], ["q"], 1)) == [["q"], ["r"], ["p"]]
    assert model.shape("q") == (4,) and model.shape("s") is None and model.shape("nothing") is None
    assert model.is_made("q") and not model.is_made("x") and not model.is_made("nothing")
