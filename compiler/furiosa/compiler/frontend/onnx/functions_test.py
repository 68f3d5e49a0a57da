"""Functions become their bodies; what they would unfold to is known before."""

from __future__ import annotations

import time

import numpy as np
import onnx
import pytest
from onnx import helper

from furiosa.compiler.errors import InvalidModel
from furiosa.compiler.frontend.onnx import functions
from furiosa.compiler.frontend.onnx.importer import import_onnx
from furiosa.compiler.frontend.onnx.testing import tensor
from furiosa.compiler.limits import MOST_OPERATORS

OPSETS = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]


def _function(name: str, *nodes: onnx.NodeProto) -> onnx.FunctionProto:
    return helper.make_function("own", name, ["a"], ["b"], list(nodes), OPSETS)


def _chain(op_types: list[str]) -> list[onnx.NodeProto]:
    """Operators one after the other from "a" to "b"; those that are no operators of ONNX are functions."""
    names = ["a", *(f"t{i}" for i in range(len(op_types) - 1)), "b"]
    return [
        helper.make_node(t, [x], [y], domain="own" if t.startswith("F") else "")
        for t, x, y in zip(op_types, names, names[1:])
    ]


def _model(made: list[onnx.FunctionProto], called: str) -> onnx.ModelProto:
    nodes = [helper.make_node(called, ["x"], ["y"], domain="own")]
    values = [helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, [4]) for n in "xy"]
    graph = helper.make_graph(nodes, "g", values[:1], values[1:])
    return helper.make_model(graph, functions=made, opset_imports=OPSETS, ir_version=8)


def _doubling(depth: int) -> onnx.ModelProto:
    """Each function calls the one before it twice."""
    made = [_function("F0", *_chain(["Relu", "Neg"]))]
    made += [_function(f"F{i}", *_chain([f"F{i - 1}", f"F{i - 1}"])) for i in range(1, depth)]
    return _model(made, f"F{depth - 1}")


def test_functions_in_functions() -> None:
    graph = import_onnx(_doubling(5).SerializeToString())
    assert [op.op_type for op in graph.operators] == ["Relu", "Neg"] * 16


@pytest.mark.parametrize("depth", [20, 60, 99])
def test_functions_that_would_unfold_to_too_many_operators(depth: int) -> None:
    model = _doubling(depth)
    before = time.process_time()
    with pytest.raises(InvalidModel, match=rf"has (\d+|10\^\d+) operators.*limit is {MOST_OPERATORS}"):
        import_onnx(model.SerializeToString())
    assert time.process_time() - before < 1


def test_the_number_is_that_of_what_comes_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("furiosa.compiler.limits.MOST_OPERATORS", 32)
    import_onnx(_doubling(5).SerializeToString())
    with pytest.raises(InvalidModel, match="has 64 operators"):
        import_onnx(_doubling(6).SerializeToString())


def test_calls_in_the_branches_of_an_operator_count() -> None:
    def branch(name: str) -> onnx.GraphProto:
        call = helper.make_node(name, ["a"], ["r"], domain="own")
        return helper.make_graph([call], "g", [], [helper.make_tensor_value_info("r", 1, None)])

    made = [_function("F0", *_chain(["Relu"]))]
    for i in range(1, 40):
        condition = helper.make_node("Constant", [], ["c"], value=tensor("c", True))
        both = helper.make_node(
            "If", ["c"], ["b"], then_branch=branch(f"F{i - 1}"), else_branch=branch(f"F{i - 1}")
        )
        made.append(_function(f"F{i}", condition, both))
    with pytest.raises(InvalidModel, match="operators.*limit"):
        import_onnx(_model(made, "F39").SerializeToString())


def test_big_constants_in_functions() -> None:
    """Few operators, and a megabyte in each."""
    constant = helper.make_node("Constant", [], ["c"], value=tensor("c", np.zeros(1 << 18, np.float32)))
    made = [_function("F0", constant, helper.make_node("Add", ["a", "c"], ["b"]))]
    made += [_function(f"F{i}", *_chain([f"F{i - 1}"] * 2)) for i in range(1, 11)]
    with pytest.raises(InvalidModel, match="in place of calls, would take 10738.* bytes"):
        functions.inline(_model(made, "F10"))


def test_a_function_that_calls_itself() -> None:
    made = [
        _function("F0", *_chain(["F1"])),
        _function("F1", *_chain(["F2"])),
        _function("F2", *_chain(["F0"])),
    ]
    with pytest.raises(InvalidModel, match="calls itself"):
        import_onnx(_model(made, "F0").SerializeToString())
