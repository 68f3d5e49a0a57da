"""Each rule of the dfg, broken."""

from __future__ import annotations

import numpy as np
import pytest

from furiosa.compiler.dfg.graph import Graph, Operator, Tensor
from furiosa.compiler.dfg.legality import check
from furiosa.compiler.dfg.testing import Changes, assert_illegal


def chain() -> Graph:
    """x -> a -> y -> b -> z, where b also reads the constant w."""
    x, y, z = (Tensor(n, (2, 3), "int8") for n in "xyz")
    w = Tensor("w", (3,), "int8", data=np.zeros(3, np.int8))
    return Graph(
        "onnx", "m", [x], [z], [Operator("a", "Relu", [x, None], [y]), Operator("b", "Add", [y, w], [z])]
    )


def test_legal():
    check(chain())


def test_a_type_that_numpy_lacks_has_its_stored_bytes():
    g = chain()
    g.operators[1].inputs[1] = Tensor("w", (3,), "bfloat16", data=np.zeros(6, np.uint8))
    check(g)


changes = Changes()


@changes
def backwards(g: Graph) -> None:
    g.operators.reverse()


@changes
def from_nowhere(g: Graph) -> None:
    g.operators[0].inputs[0] = Tensor("stranger", (2, 3), "int8")


@changes
def made_twice(g: Graph) -> None:
    g.operators[1].outputs = g.operators[0].outputs


@changes
def input_made(g: Graph) -> None:
    g.operators[1].outputs = g.inputs


@changes
def constant_made(g: Graph) -> None:
    g.operators[1].outputs = [g.operators[1].inputs[1]]


@changes
def output_lost(g: Graph) -> None:
    g.outputs.append(Tensor("lost", (), "int8"))


@changes
def negative(g: Graph) -> None:
    g.operators[0].outputs[0].shape = (2, -1)


@changes
def dynamic(g: Graph) -> None:
    g.inputs[0].shape = ("batch", 3)


@changes
def constant_of_another_shape(g: Graph) -> None:
    g.operators[1].inputs[1].shape = (4,)


@pytest.mark.parametrize("change", changes)
def test_illegal(change):
    assert_illegal("dfg", chain(), change, check)
